use model::budget::Usage;
use proptest::prelude::*;

use super::*;

const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":100000,\"cache_read_input_tokens\":50000,\"cache_creation\":{\"ephemeral_5m_input_tokens\":60000,\"ephemeral_1h_input_tokens\":40000},\"output_tokens\":3}}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"usage\\\":{\\\"output_tokens\\\":9999}\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":42}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

const RESPONSES: &str = "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null}}\r\n\r\nevent: response.output_text.delta\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\r\n\r\nevent: response.completed\r\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":150,\"input_tokens_details\":{\"cached_tokens\":50},\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":5},\"total_tokens\":157}}}\r\n\r\n";

const CHAT: &str = ": comment\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\ndata:{\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":150,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":50}}}\n\ndata: [DONE]\n\n";

fn read(dialect: Dialect, pieces: &[&[u8]], clean: bool) -> Reading {
    let mut reader = Reader::events(dialect);
    for piece in pieces {
        reader.feed(piece);
    }
    reader.reading(clean)
}

fn usage(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Usage {
    Usage {
        input,
        cache_read,
        cache_write,
        output,
    }
}

#[test]
fn each_dialect_counts_each_token_once() {
    let reading = read(Dialect::Messages, &[MESSAGES.as_bytes()], true);
    assert_eq!(reading.usage, usage(10, 50_000, 100_000, 42));
    assert_eq!(reading.cache_write_hour, 40_000);
    assert!(reading.complete());
    let reading = read(Dialect::Responses, &[RESPONSES.as_bytes()], true);
    assert_eq!(reading.usage, usage(100, 50, 0, 7));
    assert!(reading.complete());
    let reading = read(Dialect::Chat, &[CHAT.as_bytes()], true);
    assert_eq!(reading.usage, usage(100, 50, 0, 9));
    assert!(reading.complete());
}

#[test]
fn a_whole_text_is_read_too() {
    let mut reader = Reader::whole(Dialect::Messages);
    reader.feed(
        b"{\"type\":\"message\",\"content\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}",
    );
    assert_eq!(reader.reading(true).usage, usage(5, 0, 0, 6));
    assert!(reader.reading(true).complete());
    let mut reader = Reader::whole(Dialect::Chat);
    reader.feed(b"{\"choices\":[{}],\"timings\":{\"prompt_n\":5,\"predicted_n\":6}}");
    assert_eq!(reader.reading(true).usage, usage(5, 0, 0, 6));
}

#[test]
fn a_stream_that_is_cut_is_not_complete() {
    let cut = MESSAGES.find("event: message_delta").unwrap();
    let reading = read(Dialect::Messages, &[&MESSAGES.as_bytes()[..cut]], false);
    assert!(reading.input_known && !reading.output_known && reading.began);
    // Counts after each piece are the whole only at the end.
    let running =
        b"data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n";
    assert!(!read(Dialect::Chat, &[running], false).output_known);
    assert!(read(Dialect::Chat, &[running], true).output_known);
}

#[test]
fn an_error_before_the_model_began_is_told_from_one_after() {
    let error =
        b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    assert!(!read(Dialect::Messages, &[error], true).began);
    let start = MESSAGES.find("event: ping").unwrap();
    assert!(
        read(
            Dialect::Messages,
            &[&MESSAGES.as_bytes()[..start], error],
            true
        )
        .began
    );
    let failed = b"data: {\"type\":\"response.failed\",\"response\":{\"usage\":null}}\n\n";
    assert!(!read(Dialect::Responses, &[failed], true).began);
    // An answer that says nothing at all may have been billed.
    assert!(read(Dialect::Messages, &[b"data: {}\n\n"], true).began);
}

#[test]
fn counts_that_mean_nothing_are_faulty() {
    for count in ["-1", "9223372036854775808", "1e9", "1.5", "0"] {
        let text =
            format!("data: {{\"usage\":{{\"input_tokens\":{count},\"output_tokens\":1}}}}\n\n");
        let reading = read(Dialect::Messages, &[text.as_bytes()], true);
        assert!(reading.faulty && !reading.complete(), "{count}");
    }
    let more_cached = b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":6}}}\n\n";
    assert!(read(Dialect::Chat, &[more_cached], true).faulty);
}

#[test]
fn an_event_that_is_no_json_hides_no_other() {
    let text = format!("data: {{oops\n\ndata: {}\n\n{MESSAGES}", "[".repeat(5000));
    let reading = read(Dialect::Messages, &[text.as_bytes()], true);
    assert_eq!(reading.usage.output, 42);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_usage(which in 0usize..3, cuts in proptest::collection::vec(0usize..1500, 0..40)) {
        let (dialect, text) = [(Dialect::Messages, MESSAGES), (Dialect::Responses, RESPONSES), (Dialect::Chat, CHAT)][which];
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(dialect, &pieces, true), read(dialect, &[text.as_bytes()], true));
    }

    #[test]
    fn any_bytes_cut_anyhow_give_the_same(bytes in "[data: \\n\\r\\[DONE\\]{}\"usage1]{0,120}", cut in 0usize..120) {
        let bytes = bytes.as_bytes();
        let cut = cut.min(bytes.len());
        for dialect in [Dialect::Messages, Dialect::Responses, Dialect::Chat] {
            prop_assert_eq!(read(dialect, &[&bytes[..cut], &bytes[cut..]], false), read(dialect, &[bytes], false));
        }
    }
}
