//! Values from elsewhere: what each service is asked, what is kept, and what is said where it fails.
//!
//! The services are HTTP servers on loopback that speak the documented APIs; the services
//! themselves are not installed here.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Request, Server, World, json};
use egress::secret::{Content, Context, FetchError, NewSecret, Scope, SecretError, Secrets};
use serde_json::json;
use zeroize::Zeroizing;

fn refer(secrets: &Secrets, name: &str, reference: &str) {
    let content = Content::Reference(reference.parse().unwrap());
    put(secrets, name, content);
}

fn keep(secrets: &Secrets, name: &str, value: &str) {
    put(
        secrets,
        name,
        Content::Value(Zeroizing::new(value.to_owned())),
    );
}

fn put(secrets: &Secrets, name: &str, content: Content) {
    let new = NewSecret {
        name: name.parse().unwrap(),
        scope: Scope::Organisation,
        content,
        expires: None,
        owner: None,
    };
    secrets.store().set(new, secrets.now()).unwrap();
}

fn value(secrets: &Secrets, name: &str) -> Result<String, FetchError> {
    match secrets.resolve(name, &Context::default(), "env") {
        Ok(resolved) => Ok(resolved.value.to_string()),
        Err(SecretError::Fetch { source, .. }) => Err(source),
        Err(other) => panic!("{other}"),
    }
}

/// A Vault that knows one token and one role.
fn vault(request: &Request) -> common::Answer {
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    if header("x-vault-namespace") != "team" {
        return json(403, &json!({"errors": ["permission denied"]}));
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/auth/approle/login") if request.body.contains("the-secret-id") => json(
            200,
            &json!({"auth": {"client_token": "hvs.role", "lease_duration": 600}}),
        ),
        ("POST", "/v1/auth/approle/login") => {
            json(400, &json!({"errors": ["invalid role or secret ID"]}))
        }
        ("GET", path) if ["hvs.fixed", "hvs.role"].contains(&header("x-vault-token")) => match path
        {
            "/v1/kv/data/team/ci" => json(
                200,
                &json!({"data": {"data": {"token": "from-vault", "port": 5432}}}),
            ),
            _ => json(404, &json!({"errors": []})),
        },
        _ => json(403, &json!({"errors": ["permission denied"]})),
    }
}

#[test]
fn vault_gives_fields_to_a_token_and_they_are_kept_for_a_while() {
    let (world, server) = (World::new(), Server::start(vault));
    let config = format!(
        "[vault]\naddress = '{}/'\nnamespace = 'team'\ntoken = 'secret:vault-token'\n",
        server.url
    );
    let secrets = world.with(&config);
    keep(&secrets, "vault-token", "hvs.fixed");
    refer(&secrets, "ci", "vault:kv/team/ci#token");
    refer(&secrets, "port", "vault:kv/team/ci#port");
    refer(&secrets, "field", "vault:kv/team/ci#none");
    refer(&secrets, "path", "vault:kv/team/none#token");
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    assert_eq!(value(&secrets, "port").unwrap(), "5432");
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    assert_eq!(server.count(), 2, "what was had is kept");
    world.clock.advance(61);
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    assert_eq!(server.count(), 3, "and asked for again");
    assert!(matches!(
        value(&secrets, "field"),
        Err(FetchError::Missing(_))
    ));
    assert!(matches!(
        value(&secrets, "path"),
        Err(FetchError::Missing(_))
    ));
    keep(&secrets, "vault-token", "hvs.revoked");
    world.clock.advance(61);
    let error = value(&secrets, "ci").unwrap_err();
    assert!(
        matches!(&error, FetchError::Denied(said) if said.contains("permission denied")),
        "{error}"
    );
    let troubles: Vec<_> = secrets
        .troubles()
        .into_iter()
        .map(|trouble| trouble.name.to_string())
        .collect();
    assert_eq!(troubles, ["ci", "field", "path"]);
}

#[test]
fn vault_gives_a_token_for_a_role_and_a_new_one_when_it_was_revoked() {
    let revoked = Arc::new(AtomicBool::new(false));
    let (world, switch) = (World::new(), Arc::clone(&revoked));
    let server = Server::start(move |request| {
        if request.method == "GET" && switch.swap(false, Ordering::SeqCst) {
            return json(403, &json!({"errors": ["permission denied"]}));
        }
        vault(request)
    });
    let config = format!(
        "[vault]\naddress = '{}'\nnamespace = 'team'\nrole_id = 'the-role'\nsecret_id = 'secret:vault-secret-id'\n",
        server.url
    );
    let secrets = world.with(&config);
    keep(&secrets, "vault-secret-id", "the-secret-id");
    refer(&secrets, "ci", "vault:kv/team/ci#token");
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    world.clock.advance(61);
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    let logins = || {
        server
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    };
    assert_eq!(logins(), 1);
    world.clock.advance(61);
    revoked.store(true, Ordering::SeqCst);
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    assert_eq!(logins(), 2);
    world.clock.advance(600);
    assert_eq!(value(&secrets, "ci").unwrap(), "from-vault");
    assert_eq!(logins(), 3, "a token is given up before its end");
}

#[test]
fn aws_is_asked_with_a_signature_and_its_refusals_are_told_apart() {
    let world = World::new();
    let now = world.clock.now();
    let server = Server::start(move |request| {
        let auth = &request.headers["authorization"];
        assert!(
            auth.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
                && auth.contains("/eu-west-1/secretsmanager/aws4_request"),
            "{auth}"
        );
        assert!(
            auth.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"),
            "{auth}"
        );
        assert_eq!(
            request.headers["x-amz-target"],
            "secretsmanager.GetSecretValue"
        );
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        match body["SecretId"].as_str().unwrap() {
            "prod/ci" => json(200, &json!({"SecretString": "{\"token\":\"from-aws\"}"})),
            "binary" => json(200, &json!({"SecretBinary": "ZnJvbS1hd3M="})),
            "clock" => {
                let theirs = now
                    .checked_sub(jiff::SignedDuration::from_secs(900))
                    .unwrap();
                let date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                let body =
                    json!({"__type": "InvalidSignatureException", "message": "Signature expired"});
                (400, vec![("date".to_owned(), date)], body.to_string())
            }
            "denied" => json(
                400,
                &json!({"__type": "AccessDeniedException", "Message": "not authorized"}),
            ),
            _ => json(
                400,
                &json!({"__type": "ResourceNotFoundException", "Message": "can't find it"}),
            ),
        }
    });
    let config = format!(
        "[aws]\nregion = 'eu-west-1'\naccess_key_id = 'secret:aws-id'\nsecret_access_key = 'secret:aws-key'\nendpoint = '{}'\n",
        server.url
    );
    let secrets = world.with(&config);
    keep(&secrets, "aws-id", "AKIDTEST");
    keep(&secrets, "aws-key", "the-aws-key");
    for (name, reference) in [
        ("ci", "aws-sm:prod/ci#token"),
        ("all", "aws-sm:prod/ci"),
        ("binary", "aws-sm:binary"),
        ("clock", "aws-sm:clock"),
        ("denied", "aws-sm:denied"),
        ("none", "aws-sm:none"),
        ("field", "aws-sm:prod/ci#none"),
    ] {
        refer(&secrets, name, reference);
    }
    assert_eq!(value(&secrets, "ci").unwrap(), "from-aws");
    assert_eq!(value(&secrets, "all").unwrap(), "{\"token\":\"from-aws\"}");
    assert_eq!(value(&secrets, "binary").unwrap(), "from-aws");
    assert!(
        matches!(
            value(&secrets, "clock"),
            Err(FetchError::Clock { seconds: 900, .. })
        ),
        "{:?}",
        value(&secrets, "clock")
    );
    assert!(matches!(
        value(&secrets, "denied"),
        Err(FetchError::Denied(_))
    ));
    assert!(matches!(
        value(&secrets, "none"),
        Err(FetchError::Missing(_))
    ));
    assert!(matches!(
        value(&secrets, "field"),
        Err(FetchError::Missing(_))
    ));
}

#[test]
fn google_is_asked_with_a_token_for_a_signed_assertion() {
    let Some(pem) = common::run(
        "openssl",
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        b"",
    ) else {
        return common::skip("there is no openssl");
    };
    let world = World::new();
    let server = Server::start(|request| match request.path.as_str() {
        "/token" => {
            assert!(request.body.starts_with(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"
            ));
            json(
                200,
                &json!({"access_token": "ya29.token", "expires_in": 3599}),
            )
        }
        "/v1/projects/proj/secrets/ci/versions/latest:access" => {
            assert_eq!(request.headers["authorization"], "Bearer ya29.token");
            json(200, &json!({"payload": {"data": "ZnJvbS1nb29nbGU="}}))
        }
        _ => json(404, &json!({"error": {"message": "Secret not found"}})),
    });
    let config = format!(
        "[gcp]\nservice_account = 'secret:gcp-account'\nendpoint = '{}'\n",
        server.url
    );
    let secrets = world.with(&config);
    let account = json!({
        "client_email": "ci@proj.iam.gserviceaccount.com", "private_key": pem, "private_key_id": "1",
        "token_uri": format!("{}/token", server.url),
    });
    keep(&secrets, "gcp-account", &account.to_string());
    refer(&secrets, "ci", "gcp-sm:proj/ci");
    refer(&secrets, "none", "gcp-sm:proj/none/3");
    assert_eq!(value(&secrets, "ci").unwrap(), "from-google");
    assert!(matches!(
        value(&secrets, "none"),
        Err(FetchError::Missing(_))
    ));
    assert_eq!(server.count(), 3, "the token serves twice");
}

#[test]
fn azure_is_asked_with_the_token_of_a_client() {
    let world = World::new();
    let server = Server::start(|request| match request.path.as_str() {
        "/tenant/oauth2/v2.0/token" => {
            assert!(
                request
                    .body
                    .ends_with("client_id=client&client_secret=a%26b%3Dc"),
                "{}",
                request.body
            );
            json(
                200,
                &json!({"access_token": "eyJ.token", "expires_in": 3599}),
            )
        }
        "/secrets/ci?api-version=7.4" => json(200, &json!({"value": "from-azure"})),
        "/secrets/ci/0123?api-version=7.4" => json(200, &json!({"value": "{\"a\":\"older\"}"})),
        _ => json(
            404,
            &json!({"error": {"code": "SecretNotFound", "message": "not found"}}),
        ),
    });
    let config = format!(
        "[azure]\ntenant = 'tenant'\nclient_id = 'client'\nclient_secret = 'secret:azure'\nendpoint = '{0}'\nlogin = '{0}'\n",
        server.url
    );
    let secrets = world.with(&config);
    keep(&secrets, "azure", "a&b=c");
    refer(&secrets, "ci", "azure-kv:team/ci");
    refer(&secrets, "older", "azure-kv:team/ci/0123#a");
    refer(&secrets, "none", "azure-kv:team/none");
    assert_eq!(value(&secrets, "ci").unwrap(), "from-azure");
    assert_eq!(value(&secrets, "older").unwrap(), "older");
    assert!(matches!(
        value(&secrets, "none"),
        Err(FetchError::Missing(_))
    ));
}

#[test]
fn what_a_service_answers_badly_is_told_and_never_the_value() {
    let world = World::new();
    let server = Server::start(|request| match request.path.as_str() {
        "/v1/kv/data/redirect" => (
            302,
            vec![("location".to_owned(), "http://127.0.0.1:1/steal".to_owned())],
            String::new(),
        ),
        "/v1/kv/data/text" => (200, Vec::new(), "<html>not json hunter2</html>".to_owned()),
        "/v1/kv/data/long" => (200, Vec::new(), "x".repeat(2 << 20)),
        "/v1/kv/data/value" => json(200, &json!({"data": {"data": {"t": "x".repeat(70_000)}}})),
        "/v1/kv/data/busy" => json(429, &json!({})),
        "/v1/kv/data/sealed" => json(503, &json!({"errors": ["Vault is sealed"]})),
        "/v1/kv/data/hostile" => json(403, &json!({"errors": ["a\u{1b}[2J\nb"]})),
        _ => json(404, &json!({})),
    });
    let secrets = world.with(&format!(
        "[vault]\naddress = '{}'\ntoken = 'secret:t'\n",
        server.url
    ));
    keep(&secrets, "t", "hvs.fixed");
    let error = |name: &str| {
        refer(&secrets, name, &format!("vault:kv/{name}#t"));
        value(&secrets, name).unwrap_err()
    };
    assert!(matches!(error("redirect"), FetchError::Malformed(_)));
    let text = error("text");
    assert!(
        matches!(&text, FetchError::Malformed(_)) && !text.to_string().contains("hunter2"),
        "{text}"
    );
    assert!(matches!(error("long"), FetchError::Malformed(_)));
    assert!(matches!(error("value"), FetchError::Malformed(_)));
    assert_eq!(error("busy"), FetchError::Busy);
    assert!(matches!(error("sealed"), FetchError::Unreachable(_)));
    let hostile = error("hostile").to_string();
    assert!(!hostile.contains(['\u{1b}', '\n']), "{hostile:?}");
    // What mends itself is nothing for a person.
    let names: Vec<_> = secrets
        .troubles()
        .iter()
        .map(|trouble| trouble.name.to_string())
        .collect();
    assert_eq!(names, ["hostile", "long", "redirect", "text", "value"]);
}

#[test]
fn tokens_are_never_sent_without_tls_to_another_host() {
    let world = World::new();
    let secrets = world.with("[vault]\naddress = 'http://vault.example.org'\ntoken = 'secret:t'\n");
    keep(&secrets, "t", "hvs.fixed");
    refer(&secrets, "ci", "vault:kv/ci#t");
    let error = value(&secrets, "ci").unwrap_err();
    assert!(
        matches!(&error, FetchError::NotConfigured(text) if text.contains("https://")),
        "{error}"
    );
    // Values do not stand in the configuration, and are not repeated when they do.
    let wrong = toml::from_str::<egress::secret::SecretsConfig>(
        "[vault]\naddress = 'https://x'\ntoken = 'hvs.CAESIJ'\n",
    );
    let text = wrong.unwrap_err().message().to_owned();
    assert!(
        text.contains("env:NAME") && !text.contains("CAESIJ"),
        "{text}"
    );
}

#[test]
fn what_is_not_configured_or_refers_to_itself_says_so() {
    let world = World::new();
    let secrets = world.with("[vault]\naddress = 'https://127.0.0.1:1'\ntoken = 'secret:loop'\n");
    refer(&secrets, "loop", "vault:kv/loop#t");
    refer(&secrets, "aws", "aws-sm:x");
    refer(&secrets, "command", "command:sh -c true");
    refer(&secrets, "variable", "env:NIGHTCREW_NO_SUCH_VARIABLE");
    assert!(matches!(
        value(&secrets, "loop"),
        Err(FetchError::NotConfigured(_))
    ));
    assert!(
        matches!(value(&secrets, "aws"), Err(FetchError::NotConfigured(text)) if text.contains("[secrets.aws]"))
    );
    assert!(matches!(
        value(&secrets, "command"),
        Err(FetchError::Missing(_))
    ));
    let (checked, damaged) = secrets.check().unwrap();
    assert!(damaged.is_empty() && checked.iter().all(|one| one.problem.is_some()));
}
