use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::meter::{PriceTable, edit};

fn read(dialect: Dialect, body: &str) -> Result<Facts, Unfit> {
    Facts::read(dialect, body.as_bytes(), &BTreeSet::new())
}

fn facts(dialect: Dialect, body: &Value) -> Facts {
    read(dialect, &body.to_string()).unwrap()
}

#[test]
fn what_decides_is_read_and_the_place_of_the_model_is_known() {
    let body = "{ \"max_tokens\" : 10, \"model\" : \"a-1\",\n\"stream\":true, \"messages\":[{\"model\":\"b\"}]}";
    let facts = read(Dialect::Messages, body).unwrap();
    assert_eq!(
        (facts.model.as_str(), facts.stream, facts.max_output),
        ("a-1", true, Some(10))
    );
    let body = Bytes::from(body);
    let renamed = edit::edited(&body, edit::renamed(&facts, "other").into_iter().collect());
    assert_eq!(
        renamed,
        Bytes::from(
            String::from_utf8(body.to_vec())
                .unwrap()
                .replace("\"a-1\"", "\"other\"")
        )
    );
    assert_eq!(edit::renamed(&facts, "a-1"), None);
}

#[test]
fn what_readers_understand_differently_is_refused() {
    for body in [
        "{\"model\":\"a\",\"model\":\"b\"}",
        "{\"mod\\u0065l\":\"a\"}",
        "{\"Model\":\"a\"}",
        "{\"model\":null}",
        "{\"model\":[\"a\",\"b\"]}",
        "{\"model\":\"a\\u0000\"}",
        "{\"model\":\"a \"}",
        "{\"model\":\"\\ud800\"}",
        "{\"model\":\"\"}",
        "{}",
        "[]",
        "null",
        "\"model\"",
        "",
        "{\"model\":\"a\"}{}",
        "\u{feff}{\"model\":\"a\"}",
        "{\"model\":\"a\",\"temperature\":NaN}",
        "{\"model\":\"a\",\"models\":[\"b\"]}",
        "{\"model\":\"a\",\"fallback_models\":[\"b\"]}",
        "{\"model\":\"ä\"}",
        "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"role\":\"system\"}]}",
        "{\"model\":\"a\",\"stream\":\"true\"}",
        "{\"model\":\"a\",\"stream\":1}",
    ] {
        for dialect in [Dialect::Messages, Dialect::Responses, Dialect::Chat] {
            assert!(read(dialect, body).is_err(), "{body}");
        }
    }
    assert!(Facts::read(Dialect::Chat, b"{\"model\":\"\xff\"}", &BTreeSet::new()).is_err());
    let deep = format!(
        "{{\"model\":\"a\",\"tools\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(
        read(Dialect::Chat, &deep),
        Err(Unfit::Malformed(Malformed::Deep))
    );
}

#[test]
fn counts_that_are_none_are_refused() {
    for count in [
        "1e3",
        "4096.5",
        "\"4096\"",
        "-1",
        "1e400",
        "true",
        "[1]",
        "{}",
        "1000000000",
        "99999999999999999999999999999999999999999999999",
    ] {
        let body = format!("{{\"model\":\"a\",\"max_tokens\":{count}}}");
        assert!(read(Dialect::Messages, &body).is_err(), "{count}");
    }
    for n in ["0", "1000", "-1", "1.5"] {
        assert!(
            read(Dialect::Chat, &format!("{{\"model\":\"a\",\"n\":{n}}}")).is_err(),
            "{n}"
        );
    }
    let both = read(
        Dialect::Chat,
        "{\"model\":\"a\",\"max_tokens\":5,\"max_completion_tokens\":50,\"n\":3}",
    )
    .unwrap();
    assert_eq!((both.max_output, both.choices), (Some(50), 3));
}

#[test]
fn what_the_vendor_would_do_by_itself_is_refused() {
    let messages = [
        json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        json!({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        json!({"tools": [{"type": "code_execution_20250825", "name": "x"}]}),
        json!({"mcp_servers": [{"url": "https://evil.example.test/mcp"}]}),
        json!({"container": "x"}),
        json!({"webhook_url": "x"}),
        json!({"service_tier": "priority"}),
        json!({"speed": "fast"}),
        json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://e/?d=1"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "https://e"}}]}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]}),
    ];
    let responses = [
        json!({"tools": [{"type": "web_search"}]}),
        json!({"tools": [{"type": "mcp", "server_url": "https://e"}]}),
        json!({"tools": [{"type": "code_interpreter"}]}),
        json!({"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}),
        json!({"background": true}),
        json!({"previous_response_id": "r"}),
        json!({"conversation": "c"}),
        json!({"prompt": {"id": "p"}}),
        json!({"service_tier": "priority"}),
        json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://e"}]}]}),
        json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://e"}]}]}),
        json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}),
        json!({"input": [{"type": "item_reference", "id": "i"}]}),
    ];
    let chat = [
        json!({"web_search_options": {}}),
        json!({"best_of": 50}),
        json!({"prediction": {}}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://e"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "http://e"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]}),
    ];
    for (dialect, bodies) in [
        (Dialect::Messages, &messages[..]),
        (Dialect::Responses, &responses),
        (Dialect::Chat, &chat),
    ] {
        for body in bodies {
            let mut body = body.clone();
            body["model"] = "a".into();
            let refused = read(dialect, &body.to_string());
            assert!(
                matches!(refused, Err(Unfit::Feature { .. } | Unfit::Field(_))),
                "{body}: {refused:?}"
            );
        }
    }
}

#[test]
fn what_agents_send_is_fit() {
    let tools = json!({"model": "a", "max_tokens": 1, "tools": [{"name": "t", "input_schema": {"properties": {"source": {"type": "url"}, "url": {}}}}, {"type": "custom"}, {"type": "bash_20250124"}],
        "messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"source": {"type": "url", "url": "https://e"}, "file_id": "x"}}]}]});
    assert!(read(Dialect::Messages, &tools.to_string()).is_ok());
    let null = json!({"model": "a", "previous_response_id": null, "conversation": null, "background": false, "service_tier": "auto", "store": false,
        "input": [{"type": "function_call", "arguments": "{\"file_url\":\"https://e\"}"}]});
    assert!(read(Dialect::Responses, &null.to_string()).is_ok());
    let more = BTreeSet::from(["new_field".to_owned()]);
    assert!(Facts::read(Dialect::Chat, b"{\"model\":\"a\",\"new_field\":1}", &more).is_ok());
}

#[test]
fn caches_cost_more_only_where_they_are_asked_for() {
    let caches = |body: Value| facts(Dialect::Messages, &body).caches;
    assert_eq!(
        caches(json!({"model": "a", "messages": [{"content": "cache_control"}]})),
        Caches::None
    );
    assert_eq!(
        caches(json!({"model": "a", "cache_control": {"type": "ephemeral"}})),
        Caches::Minutes
    );
    assert_eq!(
        caches(
            json!({"model": "a", "system": [{"cache_control": {"type": "ephemeral", "ttl": "5m"}}]})
        ),
        Caches::Minutes
    );
    assert_eq!(
        caches(
            json!({"model": "a", "tools": [{"cache_control": {"ttl": "1h"}}, {"cache_control": {}}]})
        ),
        Caches::Hour
    );
    let escaped = read(
        Dialect::Messages,
        "{\"model\":\"a\",\"system\":[{\"cache_contro\\u006c\":{\"tt\\u006c\":\"1\\u0068\"}}]}",
    )
    .unwrap();
    assert_eq!(escaped.caches, Caches::Hour);
}

#[test]
fn images_are_bounded_by_what_one_can_be_and_documents_by_the_context() {
    let table = PriceTable::shipped().unwrap();
    let price = table.price("claude-opus-4-8").unwrap();
    let image = |kind: &str, media: &str, data: usize| {
        facts(
            Dialect::Messages,
            &json!({"model": "a", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": kind, "media_type": media, "data": "x".repeat(data)}}]}]}),
        )
    };
    let large = image("base64", "image/png", 300_000);
    assert_eq!(large.images, 1);
    assert!(large.most_input(price).unwrap() < 10_000);
    // A tiny file may be a large image.
    assert!(image("base64", "image/png", 10).most_input(price).unwrap() > 5000);
    // Text at the same place is text.
    assert!(
        image("text", "text/plain", 300_000)
            .most_input(price)
            .unwrap()
            > 300_000
    );
    assert_eq!(
        image("base64", "application/pdf", 10).most_input(price),
        price.context
    );
    let chat = facts(
        Dialect::Chat,
        &json!({"model": "a", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "x".repeat(100_000))}}]}]}),
    );
    assert_eq!(
        (chat.images, chat.bytes - chat.image_bytes < 200),
        (1, true)
    );
}

#[test]
fn a_streamed_chat_is_asked_for_its_usage_and_stays_otherwise() {
    let told = |text: &'static str| {
        let body = Bytes::from(text);
        let facts = read(Dialect::Chat, text).unwrap();
        edit::telling_usage(&body, &facts)
            .map(|edit| edit::edited(&body, vec![edit]))
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(told("{\"model\":\"a\"}"), None);
    assert_eq!(
        told("{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"),
        None
    );
    assert_eq!(
        told("{\"model\":\"a\", \"stream\":true}").unwrap(),
        "{\"stream_options\":{\"include_usage\":true},\"model\":\"a\", \"stream\":true}"
    );
    assert_eq!(
        told("{\"model\":\"a\", \"stream\":true,\"stream_options\":null }").unwrap(),
        "{\"model\":\"a\", \"stream\":true,\"stream_options\":{\"include_usage\":true} }"
    );
    assert_eq!(
        told(
            "{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":false,\"x\":1}}"
        )
        .unwrap(),
        "{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":1}}"
    );
}

proptest! {
    #[test]
    fn a_reshaped_body_is_the_same_json_but_for_what_was_changed(text in "\\PC{0,20}", number in any::<i32>(), stream in any::<bool>()) {
        let body = json!({"model": "m", "stream": stream, "system": text, "messages": [number, {"a": [text]}], "temperature": number});
        let bytes = Bytes::from(body.to_string());
        let facts = Facts::read(Dialect::Messages, &bytes, &BTreeSet::new()).unwrap();
        let shaped = edit::reshaped(&bytes, &facts, &["model", "stream"], &["\"v\":1".to_owned()]);
        let mut expected = body;
        expected.as_object_mut().unwrap().remove("model");
        expected.as_object_mut().unwrap().remove("stream");
        expected["v"] = 1.into();
        prop_assert_eq!(serde_json::from_slice::<Value>(&shaped).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), dialect in 0usize..3) {
        let _ = Facts::read([Dialect::Messages, Dialect::Responses, Dialect::Chat][dialect], &bytes, &BTreeSet::new());
    }
}
