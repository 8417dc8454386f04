use model::egress::EgressRefusal as No;
use proptest::prelude::*;

use super::*;

mod definitions;
mod git;

fn policy(text: &str) -> NetworkPolicy {
    try_policy(text).unwrap()
}

fn try_policy(text: &str) -> Result<NetworkPolicy, PolicyError> {
    let definition: NetworkDefinition = serde_json::from_str(text).unwrap();
    NetworkPolicy::compile(&definition)
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn facts<'a>(method: &'a str, target: &'a str) -> RequestFacts<'a> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    RequestFacts {
        method,
        path,
        query,
        program: None,
    }
}

fn rule(policy: &NetworkPolicy, text: &str, method: &str, target: &str) -> Result<String, No> {
    policy
        .request(&host(text), 443, &facts(method, target))
        .map(|permit| permit.rule)
}

const BASE: &str = r#"[{"host": "api.example.test", "methods": ["GET"], "paths": ["/v1/**"],
    "credential": {"secret": "X", "variable": "API_TOKEN"}}]"#;

#[test]
fn nothing_is_permitted_that_no_rule_names() {
    for policy in [NetworkPolicy::default(), policy("[]"), policy(BASE)] {
        for text in [
            "evil.example.test",
            "sub.api.example.test",
            "apixexample.test",
            "example.test",
            "api.example.test.evil.example.test",
            "localhost",
        ] {
            assert_eq!(
                policy.connection(&host(text), 443),
                Err(No::HostNotNamed),
                "{text}"
            );
            assert_eq!(
                rule(&policy, text, "GET", "/v1/x"),
                Err(No::HostNotNamed),
                "{text}"
            );
            assert!(!policy.names(host(text).name().unwrap()), "{text}");
        }
        for text in [
            "203.0.113.9",
            "[2001:db8::9]",
            "127.0.0.1",
            "169.254.169.254",
        ] {
            assert_eq!(
                policy.connection(&host(text), 443),
                Err(No::AddressNotNamed),
                "{text}"
            );
        }
    }
}

#[test]
fn the_reason_is_the_one_that_came_farthest() {
    let policy = policy(BASE);
    for port in [22, 25, 53, 80, 853, 8443] {
        assert_eq!(
            policy.connection(&host("api.example.test"), port),
            Err(No::PortNotNamed)
        );
    }
    for (method, target, expected) in [
        ("GET", "/v1/x", Ok("network[0]".to_owned())),
        ("GET", "/v1/x?y=../z", Ok("network[0]".to_owned())),
        ("GET", "/admin", Err(No::PathNotNamed)),
        ("POST", "/admin", Err(No::PathNotNamed)),
        ("POST", "/v1/x", Err(No::MethodNotNamed)),
        ("HEAD", "/v1/x", Err(No::MethodNotNamed)),
        ("get", "/v1/x", Err(No::MethodNotNamed)),
        ("GET\t", "/v1/x", Err(No::MethodNotNamed)),
        ("XGET", "/v1/x", Err(No::MethodNotNamed)),
        ("", "/v1/x", Err(No::MethodNotNamed)),
        ("GET", "/V1/x", Err(No::PathNotNamed)),
        ("GET", "/v1/../admin", Err(No::ProtocolInvalid)),
        (
            "GET",
            "//evil.example.test/v1/ping",
            Err(No::ProtocolInvalid),
        ),
        ("GET", "*", Err(No::ProtocolInvalid)),
    ] {
        assert_eq!(
            rule(&policy, "API.example.TEST", method, target),
            expected,
            "{method} {target}"
        );
    }
    let anything = self::policy(r#"[{"host": "a.test", "protocol": "https"}]"#);
    for method in [
        "CONNECT",
        "TRACE",
        "PRI",
        "get",
        "G\0ET",
        &"A".repeat(10_000),
    ] {
        assert_eq!(
            rule(&anything, "a.test", method, "/"),
            Err(No::MethodNotNamed),
            "{method}"
        );
    }
    assert_eq!(
        rule(&anything, "a.test", "PROPFIND", "/x"),
        Ok("network[0]".to_owned())
    );
}

#[test]
fn one_rule_that_permits_is_enough_and_the_nearest_counts() {
    let policy = policy(
        r#"[
        {"host": "*.example.test", "protocol": "https"},
        {"host": "api.example.test", "methods": ["GET"], "paths": ["/v1/**"], "credential": {"secret": "X"}},
        {"host": "api.example.test", "methods": ["POST"], "paths": ["/v1/**"]},
        {"host": "api.example.test", "methods": ["GET"], "paths": ["/public/**"]},
        {"host": "*.b.example.test", "protocol": "tls"}
    ]"#,
    );
    for (name, method, path, expected) in [
        ("api.example.test", "GET", "/v1/x", "network[1]"),
        ("api.example.test", "POST", "/v1/x", "network[2]"),
        ("api.example.test", "GET", "/public/x", "network[3]"),
        ("api.example.test", "DELETE", "/v1/x", "network[0]"),
        ("a.b.example.test", "GET", "/", "network[4]"),
        ("x.y.example.test", "GET", "/", "network[0]"),
    ] {
        assert_eq!(
            rule(&policy, name, method, path).unwrap(),
            expected,
            "{name} {method} {path}"
        );
    }
    let permit = policy
        .request(&host("api.example.test"), 443, &facts("POST", "/v1/x"))
        .unwrap();
    assert_eq!(permit.credential, None);
    // The tunnel of the nearer rule is looked into because the wider one wants to look.
    let permit = policy.connection(&host("a.b.example.test"), 443).unwrap();
    assert_eq!(
        (permit.rule.as_str(), permit.protocol),
        ("network[0]", NetworkProtocol::Https)
    );
    assert!(!policy.names(&Name::parse("example.test").unwrap()));
}

#[test]
fn the_deepest_protocol_wins_port_by_port() {
    let policy = policy(
        r#"[
        {"host": "a.test", "protocol": "tcp", "ports": [443, 5432]},
        {"host": "a.test", "protocol": "tls"},
        {"host": "a.test", "methods": ["GET"]},
        {"host": "a.test", "protocol": "http"},
        {"host": "b.test"}
    ]"#,
    );
    for (name, port, protocol) in [
        ("a.test", 443, NetworkProtocol::Https),
        ("a.test", 5432, NetworkProtocol::Tcp),
        ("a.test", 80, NetworkProtocol::Http),
        ("b.test", 443, NetworkProtocol::Tls),
    ] {
        assert_eq!(
            policy.connection(&host(name), port).unwrap().protocol,
            protocol,
            "{name}:{port}"
        );
    }
    assert_eq!(policy.ports(), BTreeSet::from([80, 443, 5432]));
    assert_eq!(NetworkPolicy::default().ports(), BTreeSet::from([80, 443]));
}

#[test]
fn programs_are_named_by_name_or_path_and_unknown_ones_are_not_permitted() {
    let policy = policy(r#"[{"host": "a.test", "programs": ["git", "/usr/bin/cargo"]}]"#);
    for (program, permitted) in [
        (Some("/usr/bin/git"), true),
        (Some("/work/git"), true),
        (Some("/usr/bin/cargo"), true),
        (Some("/work/cargo"), false),
        (Some("/usr/bin/git/x"), false),
        (Some(""), false),
        (None, false),
    ] {
        let answer = policy.connection_of(&host("a.test"), 443, program);
        assert_eq!(answer.is_ok(), permitted, "{program:?}");
        assert!(permitted || answer == Err(No::ProgramNotNamed));
        assert_eq!(
            policy
                .request(
                    &host("a.test"),
                    443,
                    &RequestFacts {
                        program,
                        ..RequestFacts::get("/")
                    }
                )
                .is_ok(),
            permitted
        );
    }
    assert_eq!(
        policy.connection(&host("a.test"), 443),
        Err(No::ProgramNotNamed)
    );
}

#[test]
fn bundles_read_and_mirrors_take_their_place() {
    let definition =
        NetworkDefinition(vec![model::network::NetworkEntry::Bundle("npm".to_owned())]);
    let plain = NetworkPolicy::compile(&definition).unwrap();
    for path in [
        "/left-pad",
        "/@types%2fnode",
        "/@types/node/-/node-1.0.0.tgz",
    ] {
        assert_eq!(
            rule(&plain, "registry.npmjs.org", "GET", path),
            Ok("bundle npm".to_owned()),
            "{path}"
        );
    }
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(
            rule(&plain, "registry.npmjs.org", method, "/left-pad"),
            Err(No::MethodNotNamed)
        );
    }
    let mirrors =
        Mirrors::parse([("registry.npmjs.org", "http://nexus.corp.test:8081/npm")]).unwrap();
    let mirrored = NetworkPolicy::compile_with(&definition, &mirrors).unwrap();
    let permit = mirrored
        .request(
            &host("registry.npmjs.org"),
            443,
            &RequestFacts::get("/left-pad"),
        )
        .unwrap();
    assert!(permit.private && permit.protocol == NetworkProtocol::Https);
    assert_eq!(permit.mirror.unwrap().path("/left-pad"), "/npm/left-pad");
    let nexus = host("nexus.corp.test");
    assert!(
        mirrored
            .request(&nexus, 8081, &RequestFacts::get("/npm/left-pad"))
            .is_ok()
    );
    assert_eq!(
        mirrored.request(&nexus, 8081, &RequestFacts::get("/admin")),
        Err(No::PathNotNamed)
    );
    assert!(mirrored.ports().contains(&8081));
}

#[test]
fn an_address_that_a_rule_names_can_be_reached() {
    let policy = policy(
        r#"[{"host": "2606:4700::1111"}, {"host": "10.1.2.3", "private": true, "protocol": "tcp", "ports": [5432]}]"#,
    );
    assert!(policy.connection(&host("[2606:4700::1111]"), 443).is_ok());
    assert!(
        policy
            .connection(&host("[::ffff:10.1.2.3]"), 5432)
            .unwrap()
            .private
    );
    assert_eq!(
        policy.connection(&host("10.1.2.3"), 443),
        Err(No::PortNotNamed)
    );
}

#[test]
fn the_brokers_own_name_has_an_address_but_no_rule() {
    let own = Name::parse("model.nightcrew.internal").unwrap();
    let policy = policy(BASE).with_own(own.clone());
    assert!(policy.names(&own));
    assert_eq!(policy.connection(&own.into(), 443), Err(No::HostNotNamed));
    assert_eq!(policy.credentials().len(), 1);
}

proptest! {
    /// No text at all makes a request that the rule does not name.
    #[test]
    fn only_what_is_named_is_permitted(method in "[A-Za-z]{0,8}|GET", path in ".{0,30}|/v1/[a-z/.%0-9]{0,20}", query in ".{0,20}") {
        let policy = policy(BASE);
        let facts = RequestFacts { method: &method, path: &path, query: &query, program: None };
        if policy.request(&host("api.example.test"), 443, &facts).is_ok() {
            prop_assert_eq!(method, "GET");
            let first = RequestPath::parse(&path).unwrap();
            prop_assert!(first.readings().all(|segments| segments[0] == "v1"));
        }
    }

    #[test]
    fn any_definition_compiles_or_is_refused(host in ".{0,20}|[a-z*.]{1,12}", paths in proptest::collection::vec(".{0,12}", 0..3), push in ".{0,20}", format in ".{0,12}", header in ".{0,12}") {
        let rule = model::network::HostRule {
            host, paths, git: Some(model::network::GitRule { repositories: vec![push.clone()], push: vec![push] }),
            credential: Some(CredentialUse { secret: "x".to_owned(), header: Some(header), variable: None, format: Some(format) }),
            ..Default::default()
        };
        let definition = NetworkDefinition(vec![model::network::NetworkEntry::Host(Box::new(rule))]);
        let _ = NetworkPolicy::compile(&definition);
    }
}
