//! Attempts with the second version of HTTP, with tunnels, and with plain HTTP.

use model::egress::EgressRefusal;

use crate::bypass::hello;
use crate::support::{SECRET, World};

const ALL: &str = r#"[
  {"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,"credential":{"secret":"x","variable":"API_TOKEN"}},
  {"host":"second.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true},
  {"host":"tunnel.example.test","protocol":"tls","private":true},
  {"host":"plain.example.test","protocol":"http","ports":[80],"methods":["GET"],"paths":["/v1/**"],"private":true},
  {"host":"evil.example.test","protocol":"tcp","ports":[5432],"private":true}]"#;

/// Opens one connection of the second version and sends requests with these headers, one after the
/// other; gives a line with status or error for each.
fn streams(world: &World, headers: &str) -> Vec<String> {
    let script = format!(
        "const h2=require('http2');const c=h2.connect('https://api.example.test',{{rejectUnauthorized:false}});\
         const all={headers};const out=[];c.on('error',e=>{{}});\
         const next=()=>{{const h=all.shift();if(!h){{console.log(out.join('\\n'));c.destroy();return}}\
         let r;try{{r=c.request(h)}}catch(e){{out.push('error '+e.code);return next()}}\
         let said=false;const say=t=>{{if(!said){{said=true;out.push(t);next()}}}};\
         r.on('response',a=>say(String(a[':status'])));r.on('error',e=>say('error '+e.code));r.on('close',()=>say('closed'));r.end()}};next();"
    );
    let (_, out, err) = world.run(&["node", "-e", &script]);
    assert!(!out.is_empty(), "{err}");
    out.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn net_h2_authority_vs_host_and_coalescing() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let before = world.reached("api.example.test").0;
    let bearer = format!("authorization:'Bearer {}'", world.placeholder);
    let answers = streams(
        &world,
        &format!(
            "[{{':path':'/v1/ping',{bearer}}},{{':authority':'second.example.test',':path':'/v1/ping',{bearer}}},\
         {{':authority':'evil.example.test',':path':'/v1/ping'}},{{':authority':'api.example.test:22',':path':'/v1/ping'}},\
         {{':authority':'u@api.example.test',':path':'/v1/ping'}},{{':path':'/v1/ping',host:'evil.example.test'}},\
         {{':scheme':'http',':path':'/v1/ping'}},{{':path':'https://evil.example.test/'}},{{':path':'/admin'}},\
         {{':method':'TRACE',':path':'/v1/ping'}},{{':path':'/v1/ping'}}]"
        ),
    );
    assert_eq!(answers.len(), 11, "{answers:?}");
    assert_eq!(
        (answers[0].as_str(), answers[10].as_str()),
        ("200", "200"),
        "{answers:?}"
    );
    assert!(
        answers[1..10].iter().all(|answer| answer != "200"),
        "{answers:?}"
    );
    assert_eq!((answers[1].as_str(), answers[2].as_str()), ("421", "421"));
    assert_eq!(world.reached("api.example.test").0, before + 2);
    for host in ["second.example.test", "evil.example.test"] {
        assert_eq!(world.reached(host), (0, 0), "{host}");
        assert!(world.was_refused(EgressRefusal::NamesDisagree, host));
    }
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_carries_tls_unread_to_the_named_host_alone() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let pin = world.pin("tunnel.example.test");
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: elsewhere.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    let talked = world.tls(&pin, "tunnel.example.test", request.as_bytes());
    assert_eq!(talked.status(), Some(200), "{talked:?}");
    let requests = world.servers["tunnel.example.test"].requests();
    assert!(requests[0].contains(&world.placeholder) && !requests[0].contains(SECRET));
    let carried = |event: &model::egress::EgressEvent| {
        event.host == "tunnel.example.test"
            && event.refused.is_none()
            && event.sent > 0
            && event.received > 0
            && event.detail.contains("not looked at")
    };
    for _ in 0..200 {
        if world.kept.all().iter().any(|(_, event)| carried(event)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(world.kept.all().iter().any(|(_, event)| carried(event)));
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_tls_hello_fragmentation() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let whole = hello(b"tunnel.example.test");
    let bytes: Vec<u8> = whole[5..]
        .iter()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect();
    world.raw(&world.pin("tunnel.example.test"), 443, &bytes);
    assert_eq!(world.reached("tunnel.example.test").1, 1);
    for bytes in [&[22, 3, 1, 0, 0][..], &bytes[..500], &[22, 3, 1, 0x40, 0]] {
        world.talk_and_end(&world.pin("tunnel.example.test"), 443, bytes);
    }
    assert_eq!(world.reached("tunnel.example.test").1, 1);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn sight_tcp_rule_has_only_the_pin() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let request = b"GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n";
    for address in [
        world.pin("api.example.test").as_str(),
        "127.0.0.1",
        "198.18.0.200",
        "203.0.113.9",
    ] {
        let talked = world.raw(address, 5432, request);
        assert!(
            talked.text().is_empty() || talked.status() == Some(403),
            "{address}: {talked:?}"
        );
    }
    assert_eq!(world.reached("evil.example.test"), (0, 0));
    // The server speaks TLS; that the bytes came is what counts.
    world.raw(
        &world.pin("evil.example.test"),
        5432,
        &hello(b"whatever.test"),
    );
    assert_eq!(world.reached("evil.example.test").1, 1);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_keepalive_host_change_and_h2c_upgrade() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let pin = world.pin("plain.example.test");
    let one = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let talked = world.raw(
        &pin,
        80,
        [
            one("/v1/ping", "plain.example.test"),
            one("/v1/ping", "api.example.test"),
            one("/v1/ping", "evil.example.test"),
            one("/admin", "plain.example.test"),
        ]
        .concat()
        .as_bytes(),
    );
    assert_eq!(talked.statuses(), [200, 421, 421, 403], "{talked:?}");
    let upgrade = "GET /v1/ping HTTP/1.1\r\nHost: plain.example.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(world.raw(&pin, 80, upgrade.as_bytes()).statuses(), [400]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(!world.raw(&pin, 80, preface).text().contains(" 200"));
    assert_eq!(world.reached("plain.example.test").0, 1);
    let proxied = world.run(&[
        "curl",
        "-sS",
        "-x",
        "http://127.0.0.1:3128",
        "http://plain.example.test/v1/ping",
    ]);
    assert_eq!(proxied.1, "pong", "{}", proxied.2);
    world.control();
}

#[tokio::test(flavor = "multi_thread")]
async fn net_ca_misuse_upstreams_prove_who_they_are() {
    let Some(world) = World::new(ALL) else { return };
    world.control();
    let (code, _, _) = world.run(&[
        "curl",
        "-sS",
        "--cacert",
        "/etc/ssl/certs/ca-certificates.crt",
        "https://api.example.test/v1/ping",
    ]);
    assert_eq!(code, 60);
    // A server whose certificate nobody vouches for gets no byte of a request.
    let Some(world) = World::distrustful(ALL) else {
        return;
    };
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        world.placeholder
    );
    let talked = world.api(&request);
    assert_eq!(talked.status(), Some(502), "{talked:?}");
    assert_eq!(world.reached("api.example.test").0, 0);
    assert!(world.was_refused(EgressRefusal::Unreachable, "api.example.test"));
}
