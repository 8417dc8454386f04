//! A server of models that answers by a script, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A part of an answer.
#[derive(Clone)]
pub(crate) enum Step {
    Bytes(Bytes),
    /// Goes on when somebody gives a permit.
    Wait(Arc<Semaphore>),
    /// Breaks the connection.
    Cut,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) steps: Vec<Step>,
    /// Break the connection before a byte of the answer.
    pub(crate) silent: bool,
    /// Wait for a permit before a byte of the answer.
    pub(crate) hold: Option<Arc<Semaphore>>,
}

impl Reply {
    pub(crate) fn new(status: u16, kind: &str, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            steps: vec![Step::Bytes(Bytes::from(body.to_owned()))],
            silent: false,
            hold: None,
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", &body.to_string())
    }

    /// A stream, an event a chunk.
    pub(crate) fn events(events: &[String]) -> Self {
        let mut reply = Self::new(200, "text/event-stream", "");
        reply.steps = events
            .iter()
            .map(|event| Step::Bytes(Bytes::from(event.clone())))
            .collect();
        reply
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same with a step before the one of this number.
    pub(crate) fn step(mut self, number: usize, step: Step) -> Self {
        self.steps.insert(number, step);
        self
    }

    pub(crate) fn held(mut self, gate: &Arc<Semaphore>) -> Self {
        self.hold = Some(gate.clone());
        self
    }

    pub(crate) fn silent() -> Self {
        let mut reply = Self::new(200, "", "");
        reply.silent = true;
        reply
    }
}

/// A running upstream.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Answers each request by its number, from 0, and what it is.
    pub(crate) async fn start(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, script) = (seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (kept, script) = (kept.clone(), script.clone());
                let service =
                    service_fn(move |request| answer(request, kept.clone(), script.clone()));
                tokio::spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = served.await;
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

type Answered = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer<F: Fn(usize, &Seen) -> Reply>(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Seen>>>,
    script: Arc<F>,
) -> Result<Answered, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?;
    let seen = Seen {
        path: head.uri.to_string(),
        headers: head.headers,
        body: body.to_bytes().to_vec(),
    };
    let number = {
        let mut kept = kept.lock().unwrap();
        kept.push(seen.clone());
        kept.len() - 1
    };
    let reply = script(number, &seen);
    if let Some(gate) = reply.hold {
        gate.acquire_owned().await.unwrap().forget();
    }
    if reply.silent {
        return Err(std::io::Error::other("silent"));
    }
    let mut answer = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        answer = answer.header(name, value);
    }
    let steps = futures_util::stream::unfold(reply.steps.into_iter(), |mut steps| async move {
        loop {
            match steps.next()? {
                Step::Bytes(bytes) if bytes.is_empty() => {}
                Step::Bytes(bytes) => return Some((Ok(Frame::data(bytes)), steps)),
                Step::Wait(gate) => gate.acquire_owned().await.unwrap().forget(),
                // What is before it goes out first.
                Step::Cut => {
                    tokio::task::yield_now().await;
                    return Some((Err(std::io::Error::other("cut")), steps));
                }
            }
        }
    });
    Ok(answer.body(StreamBody::new(steps).boxed_unsync()).unwrap())
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Anthropic's stream of a text.
pub(crate) fn messages(model: &str, text: &str, input: u64, output: u64) -> Vec<String> {
    let block = json!({"type": "text", "text": ""});
    let delta = json!({"type": "text_delta", "text": text});
    messages_with(model, &block, &delta, "end_turn", input, output)
}

pub(crate) fn messages_with(
    model: &str,
    block: &Value,
    delta: &Value,
    stop: &str,
    input: u64,
    output: u64,
) -> Vec<String> {
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": input, "output_tokens": 1}}});
    vec![
        event("message_start", &start),
        event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": 0, "content_block": block}),
        ),
        event(
            "content_block_delta",
            &json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        ),
        event(
            "content_block_stop",
            &json!({"type": "content_block_stop", "index": 0}),
        ),
        event(
            "message_delta",
            &json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": output}}),
        ),
        event("message_stop", &json!({"type": "message_stop"})),
    ]
}

/// OpenAI's Responses with these items.
pub(crate) fn responses(model: &str, items: &[Value], input: u64, output: u64) -> Vec<String> {
    let response = |status: &str, usage: Value| json!({"id": "resp_1", "object": "response", "status": status, "model": model, "output": [], "usage": usage});
    let mut events = vec![event(
        "response.created",
        &json!({"type": "response.created", "response": response("in_progress", Value::Null)}),
    )];
    for (number, item) in items.iter().enumerate() {
        events.push(event(
            "response.output_item.added",
            &json!({"type": "response.output_item.added", "output_index": number, "item": item}),
        ));
        events.push(event(
            "response.output_item.done",
            &json!({"type": "response.output_item.done", "output_index": number, "item": item}),
        ));
    }
    let usage = json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output});
    events.push(event(
        "response.completed",
        &json!({"type": "response.completed", "response": response("completed", usage)}),
    ));
    events
}

/// Chat Completions, with the usage at the end where it is asked for.
pub(crate) fn chat(model: &str, text: &str, usage: Option<(u64, u64)>) -> Vec<String> {
    let chunk = |value: Value| format!("data: {value}\n\n");
    let mut events = vec![
        chunk(
            json!({"id": "c", "object": "chat.completion.chunk", "model": model, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}),
        ),
        chunk(
            json!({"id": "c", "object": "chat.completion.chunk", "model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        ),
    ];
    if let Some((input, output)) = usage {
        events.push(chunk(json!({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": input, "completion_tokens": output}})));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}
