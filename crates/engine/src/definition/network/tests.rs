//! What is refused in `environment.network`, and where it is said to be.

use super::super::{DefinitionError, read};

fn file(network: &str) -> String {
    format!("name: a\nsteps: [{{command: x}}]\nenvironment:\n  network:\n{network}")
}

fn error(network: &str) -> DefinitionError {
    read(&file(network), "a.yaml").expect_err(network)
}

const WHOLE: &str = "    \
    - crates
    - host: api.example.com
      ports: [443, 8443]
      methods: [GET, POST]
      paths: [/v1/**]
      credential: {secret: api, header: x-api-key, variable: API_KEY, format: '{}'}
      send: 1MiB
    - host: '*.example.org'
    - {host: 192.0.2.7, private: true, protocol: tcp, ports: [5432]}
    - {host: '2001:db8::1', protocol: tls}
    - host: git.example.com
      git: {repositories: [org/name], push: ['refs/heads/nightcrew/*']}
      credential: {secret: forge/git, format: basic token}
";

#[test]
fn a_whole_network_reads_back() {
    let definition = read(&file(WHOLE), "a.yaml").unwrap();
    assert_eq!(definition.environment.network.0.len(), 6);
    let json = serde_json::to_string(&definition).unwrap();
    let again: model::automation::Definition = serde_json::from_str(&json).unwrap();
    assert_eq!(again, definition);
}

#[test]
fn what_makes_no_sense_is_named_with_its_key() {
    for (network, key, words) in [
        (
            "    - crate\n",
            "environment.network[0]",
            "no bundle `crate`",
        ),
        ("    - npm\n    - npm\n", "environment.network[1]", "twice"),
        (
            "    - host: https://a.test/\n",
            "environment.network[0].host",
            "paths",
        ),
        (
            "    - host: a.test:8443\n",
            "environment.network[0].host",
            "ports",
        ),
        (
            "    - host: a..test\n",
            "environment.network[0].host",
            "no host",
        ),
        (
            "    - host: 0x7f.1\n",
            "environment.network[0].host",
            "no host",
        ),
        (
            "    - host: '*'\n",
            "environment.network[0].host",
            "no host",
        ),
        (
            "    - host: '*.192.0.2.1'\n",
            "environment.network[0].host",
            "below",
        ),
        (
            "    - host: localhost\n",
            "environment.network[0].host",
            "itself",
        ),
        (
            "    - host: a.test\n      ports: [443, 0]\n",
            "environment.network[0].ports[1]",
            "no port",
        ),
        (
            "    - host: a.test\n      ports: [53]\n",
            "environment.network[0].ports[0]",
            "names",
        ),
        (
            "    - host: a.test\n      methods: [get]\n",
            "environment.network[0].methods[0]",
            "capitals",
        ),
        (
            "    - host: a.test\n      methods: [CONNECT]\n",
            "environment.network[0].methods[0]",
            "permitted",
        ),
        (
            "    - host: a.test\n      paths: [v1/*]\n",
            "environment.network[0].paths[0]",
            "begins",
        ),
        (
            "    - host: a.test\n      paths: [/a/../b]\n",
            "environment.network[0].paths[0]",
            "no path",
        ),
        (
            "    - host: a.test\n      programs: [curl]\n",
            "environment.network[0].programs",
            "leave",
        ),
        (
            "    - host: a.test\n      protocol: tls\n      paths: [/v1]\n",
            "environment.network[0].paths",
            "looked into",
        ),
        (
            "    - host: a.test\n      protocol: tcp\n      ports: [1]\n      methods: [GET]\n",
            "environment.network[0].methods",
            "looked into",
        ),
        (
            "    - host: a.test\n      protocol: tls\n      credential: {secret: x}\n",
            "environment.network[0].credential",
            "looked into",
        ),
        (
            "    - host: a.test\n      protocol: http\n      credential: {secret: x}\n",
            "environment.network[0].credential",
            "looked into",
        ),
        (
            "    - host: a.test\n      protocol: tcp\n",
            "environment.network[0].protocol",
            "ports",
        ),
        (
            "    - host: a.test\n      protocol: udp\n",
            "protocol",
            "udp",
        ),
        (
            "    - host: a.test\n      git: {push: [main]}\n",
            "environment.network[0].git.push[0]",
            "refs/heads",
        ),
        (
            "    - host: a.test\n      credential: {secret: ''}\n",
            "environment.network[0].credential.secret",
            "name",
        ),
        (
            "    - host: a.test\n      credential: {secret: x, header: 'a b'}\n",
            "environment.network[0].credential.header",
            "name",
        ),
        (
            "    - host: a.test\n      credential: {secret: x, variable: 1A}\n",
            "environment.network[0].credential.variable",
            "name",
        ),
        (
            "    - host: a.test\n      credential: {secret: x, format: Bearer}\n",
            "environment.network[0].credential.format",
            "{}",
        ),
        (
            "    - host: a.test\n      send: 0\n",
            "environment.network[0].send",
            "0 bytes",
        ),
        ("    - {host: a.test, prots: [1]}\n", "{host", "prots"),
        (
            "    - {host: a.test, credential: {secret: x, variable: T}}\n    - {host: b.test, credential: {secret: y, variable: T}}\n",
            "environment.network[1].credential.variable",
            "already",
        ),
        (
            "    - {host: a.test, credential: {secret: x, variable: T}}\n  variables: {T: a}\n",
            "environment.network[0].credential.variable",
            "as well",
        ),
        (
            "    - {host: a.test, protocol: tcp, ports: [5432]}\n  recipe:\n    services:\n      - {name: db, command: x, ready: {port: 5432}}\n",
            "environment.recipe.services[0].ready.port",
            "another",
        ),
    ] {
        let error = error(network);
        assert_eq!(error.key, key, "{network}: {error:?}");
        assert!(error.message.contains(words), "{network}: {error:?}");
        assert!(error.line >= 4, "{network}: {error:?}");
    }
    let ports: Vec<String> = (1000..1065).map(|port| port.to_string()).collect();
    let many = format!(
        "    - {{host: a.test, protocol: tcp, ports: [{}]}}\n",
        ports.join(", ")
    );
    assert!(error(&many).message.contains("64 ports"));
}

#[test]
fn an_error_says_how_to_mend_it() {
    let hint = |network: &str| error(network).hint.unwrap_or_default();
    assert_eq!(hint("    - crate\n"), "did you mean `crates`?");
    assert_eq!(
        hint("    - api.test\n"),
        "a host is written {host: api.test}"
    );
    let tls = "    - {host: a.test, protocol: tls, methods: [GET]}\n";
    assert!(hint(tls).contains("protocol: https"));
}
