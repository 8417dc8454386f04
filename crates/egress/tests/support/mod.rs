//! What tests of the gateway share: a scripted upstream, a gateway before it, and a caller.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

pub(crate) mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::Body;
use egress::budget::{BudgetPort, Cap, Capped, Spender};
use egress::gateway::config::{Clock, Kind, Route, Target, Upstream};
use egress::gateway::{Gateway, GatewayConfig, ModelPolicy, Settings, connect};
use egress::meter::PriceTable;
use egress::record::Kept;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

/// The key that no caller may ever see.
pub(crate) const KEY: &str = "sk-real-key-0123456789abcdef";

pub(crate) const MODEL: &str = "claude-opus-4-8";

/// A clock that stands.
pub(crate) fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::UNIX_EPOCH)
}

pub(crate) fn spender(name: &str) -> Spender {
    Spender {
        environment: name.to_owned(),
        account: "task".to_owned(),
    }
}

pub(crate) fn policy(models: &[&str]) -> ModelPolicy {
    ModelPolicy {
        models: models.iter().map(|&name| name.to_owned()).collect(),
    }
}

pub(crate) fn at(address: SocketAddr) -> http::Uri {
    format!("http://{address}").parse().unwrap()
}

/// An upstream of this kind there, with the key.
pub(crate) fn upstream(kind: Kind, address: SocketAddr) -> Upstream {
    let mut upstream = Upstream::new(kind, at(address));
    upstream.key = Some("key".to_owned());
    upstream
}

/// A gateway with what is around it.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) budget: Arc<Capped>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) config: GatewayConfig,
}

impl World {
    /// Routes every model to these upstreams, in this order.
    pub(crate) fn new(upstreams: &[(&str, Upstream)]) -> Self {
        Self::with(upstreams, 100, |_| {})
    }

    /// The same with this cap in dollars, and further settings.
    pub(crate) fn with(
        upstreams: &[(&str, Upstream)],
        dollars: u64,
        change: impl FnOnce(&mut GatewayConfig),
    ) -> Self {
        let to = upstreams.iter().map(|(name, _)| Target {
            upstream: (*name).to_owned(),
            model: None,
        });
        let settings = Settings {
            upstreams: upstreams
                .iter()
                .map(|(name, upstream)| ((*name).to_owned(), upstream.clone()))
                .collect(),
            routes: vec![Route {
                model: "*".to_owned(),
                to: to.collect(),
            }],
            ..Settings::default()
        };
        let mut config = GatewayConfig::new(settings, connect::tls(&[]).unwrap(), clock());
        config.prices = PriceTable::shipped().unwrap();
        config.keys = Arc::new(BTreeMap::from([(
            "key".to_owned(),
            Zeroizing::new(KEY.to_owned()),
        )]));
        config.patience = Duration::from_secs(20);
        config.retry_for = Duration::from_secs(5);
        change(&mut config);
        let budget = Arc::new(Capped::new(vec![Cap::money("task", dollars)]));
        let kept = Arc::new(Kept::default());
        let port: Arc<dyn BudgetPort> = budget.clone();
        Self {
            gateway: Gateway::new(config.clone(), port, kept.clone()),
            budget,
            kept,
            config,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(request(path, body)).await
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let models = policy(&["*"]);
        Answer::read(self.gateway.handle(&spender("env"), &models, request).await).await
    }

    /// Spent in millionths of a dollar, once nothing is under way.
    pub(crate) async fn spent(&self) -> u64 {
        wait_for(|| self.gateway.under_way() == 0).await;
        wait_for(|| self.budget.used("task").1.money.0 == 0).await;
        self.budget.used("task").0.money.0
    }
}

/// A request as agents' programs make it, with a placeholder in every place.
pub(crate) fn request(path: &str, body: &str) -> Request<Body> {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {});
    Request::post(path)
        .header("content-type", "application/json")
        .header("x-api-key", "placeholder")
        .header("authorization", "Bearer placeholder")
        .body(body.boxed_unsync())
        .unwrap()
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether it broke off.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) async fn read(answer: Response<Body>) -> Self {
        let (head, mut body) = answer.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => broken = true,
            }
        }
        Self {
            status: head.status,
            headers: head.headers,
            body: bytes,
            broken,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Waits until it is so, and fails when it takes longer than anything here may.
pub(crate) async fn wait_for(is: impl Fn() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("what was waited for");
}

/// Serves a gateway over HTTP on the loopback, as the broker does.
pub(crate) async fn front(gateway: Gateway, models: ModelPolicy) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let (gateway, models) = (gateway.clone(), models.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (gateway, models) = (gateway.clone(), models.clone());
                async move {
                    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                    let who = spender("env");
                    let answer = gateway.handle(&who, &models, request).await;
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
            tokio::spawn(async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let _ = served.await;
            });
        }
    });
    address
}

/// Says loudly that a test could not be carried out; where everything is required, it fails.
pub(crate) fn skip(why: &str) {
    println!("SKIP {why}");
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "SKIP {why}"
    );
}

pub(crate) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
