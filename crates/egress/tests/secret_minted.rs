//! Tokens that are made for one task: GitHub's, and Nightcrew's own identity tokens. Signatures are
//! checked by programs that share no code with ours.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Server, World, context, json, run, skip};
use egress::secret::{
    Content, Context, FetchError, NewSecret, Resolved, Scope, SecretError, Secrets,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

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

fn decoded(part: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&decoded(token.split('.').nth(1).unwrap())).unwrap()
}

const REFERENCE: &str = "github-app:Iv1.app/42?key=app-key&repositories=@target&permissions=contents:write,metadata:read";

/// Keys in both forms that GitHub and others hand out.
fn key(form: &str) -> Option<String> {
    let pem = run(
        "openssl",
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        b"",
    )?;
    match form {
        "pkcs1" => run("openssl", &["rsa", "-traditional"], pem.as_bytes()),
        _ => Some(pem),
    }
}

#[test]
fn installation_tokens_are_narrowed_signed_and_kept_until_shortly_before_their_end() {
    for form in ["pkcs1", "pkcs8"] {
        let Some(pem) = key(form) else {
            return skip("there is no openssl");
        };
        let (world, made) = (World::new(), Arc::new(AtomicUsize::new(0)));
        let (clock, counter) = (world.clock.clone(), Arc::clone(&made));
        let server = Server::start(move |request| {
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("POST", "/app/installations/42/access_tokens")
            );
            let wanted: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(
                wanted["permissions"],
                json!({"contents": "write", "metadata": "read"})
            );
            let names = wanted["repositories"].as_array().unwrap().clone();
            assert_eq!(names.len(), 1);
            let number = counter.fetch_add(1, Ordering::SeqCst);
            json(
                201,
                &json!({
                    "token": format!("ghs_{}_{number}", names[0].as_str().unwrap()), "expires_at": clock.in_seconds(3600),
                    "repository_selection": "selected", "repositories": [{"name": names[0]}],
                }),
            )
        });
        let secrets = world.with(&format!("[github]\napi = '{}'\n", server.url));
        put(
            &secrets,
            "app-key",
            Content::Value(Zeroizing::new(pem.clone())),
        );
        put(
            &secrets,
            "gh",
            Content::Reference(REFERENCE.parse().unwrap()),
        );
        let get = |repository: &str| {
            secrets
                .resolve("gh", &context("bump", repository), "env")
                .unwrap()
        };
        let first = get("shop/cart");
        assert_eq!(first.value.as_str(), "ghs_cart_0");
        assert!(
            first.minted && first.until == Some(world.clock.in_seconds(3300)),
            "{first:?}"
        );
        assert_eq!(get("shop/cart").value.as_str(), "ghs_cart_0");
        assert_eq!(
            get("shop/orders").value.as_str(),
            "ghs_orders_1",
            "another repository has another token"
        );
        world.clock.advance(3301);
        assert_eq!(get("shop/cart").value.as_str(), "ghs_cart_2");
        // The App's own token, checked by openssl.
        let own = server.last().headers["authorization"]
            .strip_prefix("Bearer ")
            .unwrap()
            .to_owned();
        let (text, signature) = own.rsplit_once('.').unwrap();
        let of = claims(&own);
        assert_eq!(of["iss"], "Iv1.app");
        assert!(of["exp"].as_i64().unwrap() - of["iat"].as_i64().unwrap() <= 600);
        let folder = world.folder.path();
        let public = run("openssl", &["rsa", "-pubout"], pem.as_bytes()).unwrap();
        std::fs::write(folder.join("public.pem"), public).unwrap();
        std::fs::write(folder.join("signature"), decoded(signature)).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let said = run(
            "openssl",
            &[
                "dgst",
                "-sha256",
                "-verify",
                &path("public.pem"),
                "-signature",
                &path("signature"),
            ],
            text.as_bytes(),
        );
        assert_eq!(said.unwrap().trim(), "Verified OK");
        // A person's environment has no target.
        let error = secrets
            .resolve("gh", &Context::default(), "env")
            .unwrap_err();
        assert!(
            matches!(
                error,
                SecretError::Fetch {
                    source: FetchError::NotConfigured(_),
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_clock_is_made_good_for_and_told() {
    let Some(pem) = key("pkcs8") else {
        return skip("there is no openssl");
    };
    let world = World::new();
    // Theirs is 20 minutes behind ours.
    let clock = world.clock.clone();
    let server = Server::start(move |request| {
        let theirs = clock.in_seconds(-1200);
        let own = claims(
            request.headers["authorization"]
                .strip_prefix("Bearer ")
                .unwrap(),
        );
        let date = vec![(
            "date".to_owned(),
            theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        )];
        if own["iat"].as_i64().unwrap() > theirs.as_second() {
            return (
                401,
                date,
                json!({"message": "'Issued at' claim ('iat') must be in the past"}).to_string(),
            );
        }
        let end = theirs
            .checked_add(jiff::SignedDuration::from_secs(3600))
            .unwrap();
        (
            201,
            date,
            json!({"token": "ghs_1", "expires_at": end, "repositories": [{"name": "cart"}]})
                .to_string(),
        )
    });
    let secrets = world.with(&format!("[github]\napi = '{}'\n", server.url));
    put(&secrets, "app-key", Content::Value(Zeroizing::new(pem)));
    put(
        &secrets,
        "gh",
        Content::Reference(REFERENCE.parse().unwrap()),
    );
    let token = secrets
        .resolve("gh", &context("bump", "shop/cart"), "env")
        .unwrap();
    assert_eq!(
        (token.value.as_str(), token.until),
        ("ghs_1", Some(world.clock.in_seconds(3300)))
    );
    assert_eq!(server.count(), 2);
}

#[test]
fn tokens_for_more_than_was_asked_and_refusals_are_not_taken() {
    let Some(pem) = key("pkcs8") else {
        return skip("there is no openssl");
    };
    for (status, body, expected) in [
        (
            201,
            json!({"token": "ghs_1", "expires_at": "2099-01-01T00:00:00Z", "repository_selection": "all"}),
            "more repositories",
        ),
        (201, json!({"token": "ghs_1"}), "expires_at"),
        (
            422,
            json!({"message": "The permissions requested are not granted to this installation."}),
            "not granted",
        ),
        (
            404,
            json!({"message": "Integration not found"}),
            "nothing there",
        ),
        (
            401,
            json!({"message": "A JSON web token could not be decoded"}),
            "could not be decoded",
        ),
    ] {
        let (world, answer) = (World::new(), json(status, &body));
        let server = Server::start(move |_| answer.clone());
        let secrets = world.with(&format!("[github]\napi = '{}'\n", server.url));
        put(
            &secrets,
            "app-key",
            Content::Value(Zeroizing::new(pem.clone())),
        );
        put(
            &secrets,
            "gh",
            Content::Reference(REFERENCE.parse().unwrap()),
        );
        let error = secrets
            .resolve("gh", &context("bump", "shop/cart"), "env")
            .unwrap_err();
        let SecretError::Fetch { source, .. } = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(expected), "{source}");
        assert_eq!(server.count(), 1);
        assert_eq!(secrets.troubles().len(), 1);
    }
    let world = World::new();
    let secrets = world.secrets();
    put(
        &secrets,
        "app-key",
        Content::Value(Zeroizing::new("no key".to_owned())),
    );
    put(
        &secrets,
        "gh",
        Content::Reference(REFERENCE.parse().unwrap()),
    );
    assert!(
        secrets
            .resolve("gh", &context("bump", "shop/cart"), "env")
            .is_err()
    );
}

const ISSUER: &str = "[oidc]\nissuer = 'https://nightcrew.example.org/'\nlifetime = 900\n";

fn identity(secrets: &Secrets, context: &Context) -> Resolved {
    secrets.resolve("cloud", context, "env").unwrap()
}

/// Checks a token by the issuer's documents: by PyJWT where it is, else by hand with `cryptography`.
const CHECK: &str = r#"
import base64, json, sys
asked = json.load(sys.stdin)
token, keys, audience, issuer, now = (asked[k] for k in ("token", "keys", "audience", "issuer", "now"))
b = lambda s: base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))
head, body, sig = token.split(".")
key = next(k for k in keys["keys"] if k["kid"] == json.loads(b(head))["kid"])
assert json.loads(b(head))["alg"] == "ES256" == key["alg"]
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives import hashes
i = lambda raw: int.from_bytes(raw, "big")
public = ec.EllipticCurvePublicNumbers(i(b(key["x"])), i(b(key["y"])), ec.SECP256R1()).public_key()
raw = b(sig); assert len(raw) == 64
public.verify(utils.encode_dss_signature(i(raw[:32]), i(raw[32:])), (head + "." + body).encode(), ec.ECDSA(hashes.SHA256()))
claims = json.loads(b(body))
assert claims["aud"] == audience and claims["iss"] == issuer and claims["nbf"] <= now < claims["exp"] <= now + 3600
try:
    import jwt
    pyjwk = jwt.PyJWK(key)
    again = jwt.decode(token, pyjwk.key, algorithms=["ES256"], audience=audience, issuer=issuer,
                       options={"verify_exp": False, "verify_iat": False, "verify_nbf": False})
    assert again == claims
    print("pyjwt")
except ImportError:
    print("cryptography")
"#;

#[test]
fn identity_tokens_are_checked_by_an_independent_implementation() {
    let has = std::process::Command::new("python3")
        .args(["-c", "import cryptography"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skip("there is no python3 with `cryptography`");
    }
    let world = World::new();
    let secrets = world.with(ISSUER);
    put(
        &secrets,
        "cloud",
        Content::Reference("oidc:sts.amazonaws.com".parse().unwrap()),
    );
    let token = identity(&secrets, &context("bump", "shop/cart"));
    let issuer = secrets.issuer().unwrap();
    let document = issuer.discovery();
    assert_eq!(document["issuer"], "https://nightcrew.example.org");
    assert_eq!(
        document["jwks_uri"],
        "https://nightcrew.example.org/.well-known/jwks.json"
    );
    let asked = |token: &str| {
        let asked = json!({
            "token": token, "keys": issuer.keys(), "audience": "sts.amazonaws.com", "issuer": document["issuer"],
            "now": world.clock.now().as_second(),
        });
        asked.to_string()
    };
    println!(
        "checked by {}",
        run("python3", &["-c", CHECK], asked(&token.value).as_bytes())
            .unwrap()
            .trim()
    );
    // The check can fail.
    let (text, signature) = token.value.rsplit_once('.').unwrap();
    let (head, body) = text.split_once('.').unwrap();
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let other = String::from_utf8(decoded(body))
        .unwrap()
        .replace("shop/cart", "shop/bank");
    let forged = format!("{head}.{}.{signature}", engine.encode(other));
    let output =
        std::panic::catch_unwind(|| run("python3", &["-c", CHECK], asked(&forged).as_bytes()));
    assert!(output.is_err(), "a forged token was taken");
    let of = claims(&token.value);
    assert_eq!(of["sub"], "automation:bump:repository:shop/cart:task:tsk_1");
    assert_eq!(
        (
            of["exp"].as_i64().unwrap() - of["iat"].as_i64().unwrap(),
            &of["task"]
        ),
        (900, &json!("tsk_1"))
    );
}

#[test]
fn identity_tokens_are_made_anew_in_time_by_the_same_key_and_only_for_tasks() {
    let world = World::new();
    let secrets = world.with(ISSUER);
    put(
        &secrets,
        "cloud",
        Content::Reference("oidc:aud".parse().unwrap()),
    );
    let (one, other) = (context("bump", "shop/cart"), context("bump", "shop/orders"));
    let first = identity(&secrets, &one);
    assert_eq!(identity(&secrets, &one).value, first.value);
    assert_ne!(identity(&secrets, &other).value, first.value);
    world.clock.advance(601);
    assert_ne!(identity(&secrets, &one).value, first.value);
    let keys = secrets.issuer().unwrap().keys();
    assert_eq!(
        world.with(ISSUER).issuer().unwrap().keys(),
        keys,
        "the key lasts"
    );
    let mut hostile = context("bump", "shop/cart");
    hostile.task = Some("x:repository:bank".to_owned());
    for context in [Context::default(), hostile] {
        assert!(secrets.resolve("cloud", &context, "env").is_err());
    }
    let long = world.with("[oidc]\nissuer = 'https://x.example'\nlifetime = 999999\n");
    let of = claims(&identity(&long, &one).value);
    assert_eq!(
        of["exp"].as_i64().unwrap() - of["iat"].as_i64().unwrap(),
        3600
    );
    assert!(
        world
            .with("[oidc]\nissuer = 'http://x.example'\n")
            .issuer()
            .is_err()
    );
}
