//! Which fields of a request are known, and which of them make a vendor's server do things of its
//! own: fetch, search, keep, answer later.
//!
//! A field that is not known here is refused rather than passed on: it could name another model,
//! another price, or an address for the vendor to visit. An operator adds fields by name.

use super::Dialect;

/// Fields at the top of a request that mean nothing to policy or price.
#[must_use]
pub fn known(dialect: Dialect, field: &str) -> bool {
    let fields: &[&str] = match dialect {
        Dialect::Messages => &[
            "model",
            "messages",
            "max_tokens",
            "stream",
            "system",
            "tools",
            "tool_choice",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "metadata",
            "thinking",
            "service_tier",
            "cache_control",
            "context_management",
            "output_config",
            "output_format",
            "speed",
            "inference_geo",
        ],
        Dialect::Responses => &[
            "model",
            "input",
            "instructions",
            "max_output_tokens",
            "max_tool_calls",
            "stream",
            "stream_options",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "temperature",
            "top_p",
            "top_logprobs",
            "reasoning",
            "text",
            "include",
            "store",
            "metadata",
            "client_metadata",
            "user",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "prompt_cache_options",
            "service_tier",
            "truncation",
            "context_management",
            "background",
            "previous_response_id",
            "conversation",
        ],
        Dialect::Chat => &[
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "stream",
            "stream_options",
            "tools",
            "tool_choice",
            "functions",
            "function_call",
            "parallel_tool_calls",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "top_logprobs",
            "logprobs",
            "logit_bias",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "stop",
            "seed",
            "response_format",
            "reasoning_effort",
            "verbosity",
            "store",
            "metadata",
            "user",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "service_tier",
            "modalities",
            "chat_template_kwargs",
            "keep_alive",
            "cache_prompt",
            "think",
        ],
    };
    fields.contains(&field)
}

/// Whether a tool of this type is carried out by whoever asks, and not by the vendor's servers.
#[must_use]
pub fn tool_is_the_callers(dialect: Dialect, kind: &str) -> bool {
    let (whole, begins): (&[&str], &[&str]) = match dialect {
        Dialect::Messages => (
            &["custom"],
            &[
                "bash_",
                "text_editor_",
                "computer_",
                "memory_",
                "tool_search_tool_",
            ],
        ),
        Dialect::Responses => (
            &[
                "function",
                "custom",
                "local_shell",
                "apply_patch",
                "computer",
                "computer_use_preview",
                "namespace",
                "tool_search",
            ],
            &[],
        ),
        Dialect::Chat => (&["function", "custom"], &[]),
    };
    whole.contains(&kind) || begins.iter().any(|begin| kind.starts_with(begin))
}

/// Values of `service_tier` at the table's price or below.
pub const TIERS: &[&str] = &["auto", "default", "flex", "standard", "standard_only"];
