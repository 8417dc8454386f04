//! What is inside a request, as far as it decides: tools, images, documents, and what the vendor's
//! servers would fetch.

use super::{Request, Unfit, fields};
use crate::meter::json::{Event, Step, at};
use crate::meter::price::Caches;

/// The `source` object that is being read.
#[derive(Debug, Default)]
pub(super) struct Source {
    depth: usize,
    base64: bool,
    image: bool,
    document: bool,
    data: u64,
}

impl Request<'_> {
    /// Anthropic writes to caches only where a request says so.
    pub(super) fn caches(&mut self, place: &[Step], event: Event<'_>) {
        let last = place.last();
        let caches = match event {
            Event::Key(key) if key.bytes == b"cache_control" => Caches::Minutes,
            Event::Text(text) if last.is_some_and(|step| step.is("ttl")) => match text.text() {
                Some("5m") => Caches::Minutes,
                _ => Caches::Hour,
            },
            _ => return,
        };
        self.facts.caches = self.facts.caches.max(caches);
    }

    pub(super) fn tools(&self, place: &[Step], event: Event<'_>) -> Result<(), Unfit> {
        let tool =
            at(place, &["tools", "*", "type"]) || at(place, &["tools", "*", "tools", "*", "type"]);
        let Event::Text(text) = event else {
            return Ok(());
        };
        if tool
            && !text
                .text()
                .is_some_and(|kind| fields::tool_is_the_callers(self.dialect, kind))
        {
            return Err(Unfit::Feature {
                field: "tools[].type",
                why: "names a tool that the vendor's servers carry out (Codex: `web_search = \"disabled\"`)",
            });
        }
        Ok(())
    }

    pub(super) fn anthropic(&mut self, place: &[Step], event: Event<'_>) -> Result<(), Unfit> {
        let content = place
            .first()
            .is_some_and(|step| step.is("messages") || step.is("system"));
        // What a tool was given is anything, and read as text.
        let opaque = place.get(4).is_some_and(|step| step.is("input"));
        let (Some(last), true, false) = (place.last(), content, opaque) else {
            return Ok(());
        };
        if last.is("file_id") && !matches!(event, Event::Word("null", _)) {
            return Err(Unfit::Feature {
                field: "file_id",
                why: "names a file that the vendor keeps",
            });
        }
        let inside = place.len().checked_sub(2).and_then(|at| place.get(at));
        if last.is("source") {
            match event {
                Event::Open { object: true, .. } => {
                    self.source = Source {
                        depth: place.len(),
                        ..Source::default()
                    };
                }
                Event::Close { .. } if self.source.depth == place.len() => self.end_source(),
                _ => {}
            }
        }
        if !inside.is_some_and(|step| step.is("source")) {
            return Ok(());
        }
        let Event::Text(text) = event else {
            return Ok(());
        };
        if last.is("url") || (last.is("type") && matches!(text.text(), Some("url" | "file"))) {
            return Err(Unfit::Feature {
                field: "source",
                why: "names something for the vendor's servers to fetch",
            });
        }
        if last.is("type") {
            self.source.base64 = text.text() == Some("base64");
        } else if last.is("media_type") {
            let kind = text.text().unwrap_or_default();
            self.source.image = kind.starts_with("image/");
            self.source.document = !self.source.image && kind != "text/plain";
        } else if last.is("data") {
            self.source.data = text.end.saturating_sub(text.start);
        }
        Ok(())
    }

    fn end_source(&mut self) {
        let source = std::mem::take(&mut self.source);
        if source.base64 && source.image {
            self.facts.images += 1;
            self.facts.image_bytes += source.data;
        } else if source.document || source.base64 {
            self.facts.documents += 1;
        }
    }

    pub(super) fn openai(&mut self, place: &[Step], event: Event<'_>) -> Result<(), Unfit> {
        let content = place
            .first()
            .is_some_and(|step| step.is("messages") || step.is("input"));
        let (Some(last), Event::Text(text), true) = (place.last(), event, content) else {
            return Ok(());
        };
        let inside = place.len().checked_sub(2).and_then(|at| place.get(at));
        let part =
            |key: &str| last.is(key) || (last.is("url") && inside.is_some_and(|step| step.is(key)));
        if part("image_url") {
            if !text.bytes.starts_with(b"data:image/") {
                return Err(Unfit::Feature {
                    field: "image_url",
                    why: "names something for the vendor's servers to fetch",
                });
            }
            self.facts.images += 1;
            self.facts.image_bytes += text.end.saturating_sub(text.start);
        } else if part("video_url") || part("audio_url") || last.is("file_url") {
            return Err(Unfit::Feature {
                field: "url",
                why: "names something for the vendor's servers to fetch",
            });
        } else if last.is("file_id") {
            return Err(Unfit::Feature {
                field: "file_id",
                why: "names a file that the vendor keeps",
            });
        } else if last.is("file_data") {
            self.facts.documents += 1;
        } else if last.is("type") {
            match text.text() {
                Some("item_reference") => {
                    return Err(Unfit::Feature {
                        field: "item_reference",
                        why: "names something that the vendor keeps",
                    });
                }
                Some("input_audio") => {
                    return Err(Unfit::Feature {
                        field: "input_audio",
                        why: "has no price in the table",
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
