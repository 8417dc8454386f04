//! Lists and their pages.

use serde::{Deserialize, Serialize};
use store::Page;

/// A part of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// All that match, where counting is cheap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
}

impl<T> Items<T> {
    pub(crate) const fn new(items: Vec<T>) -> Self {
        Self { items, total: None }
    }

    pub(crate) const fn of(items: Vec<T>, total: u64) -> Self {
        Self {
            items,
            total: Some(total),
        }
    }
}

/// Which part of a list is wanted. Numbers come as text, because queries know nothing else.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Paging {
    limit: Option<u32>,
    offset: Option<u32>,
}

/// Rows of one answer, at most.
const MOST: u32 = 1000;

impl Paging {
    pub(crate) fn page(&self) -> Page {
        Page {
            offset: self.offset.unwrap_or(0),
            limit: self.limit.unwrap_or(100).min(MOST),
        }
    }

    /// The same part of something that is in memory.
    pub(crate) fn cut<T: Clone>(&self, all: &[T]) -> Vec<T> {
        let page = self.page();
        all.iter()
            .skip(page.offset as usize)
            .take(page.limit as usize)
            .cloned()
            .collect()
    }
}
