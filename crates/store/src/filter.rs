//! Filters of lists as SQL conditions, the same for both databases.

use crate::types::{EventFilter, Page, TaskFilter, TaskOrder};
use crate::value::Value;

/// What the two databases spell differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `?1`, `instr`, flags are numbers.
    Sqlite,
    /// `$1`, `strpos`, flags are flags.
    Postgres,
}

/// The end of a query that grows, with its bound values.
pub(crate) struct Query {
    dialect: Dialect,
    /// SQL so far.
    pub(crate) sql: String,
    /// Its values.
    pub(crate) values: Vec<Value<'static>>,
    conditions: usize,
}

impl Query {
    /// Begins with everything before the conditions.
    pub(crate) fn new(dialect: Dialect, head: String) -> Self {
        Self {
            dialect,
            sql: head,
            values: Vec::new(),
            conditions: 0,
        }
    }

    fn bind(&mut self, value: Value<'_>) -> String {
        self.values.push(value.into_static());
        let prefix = if self.dialect == Dialect::Sqlite {
            '?'
        } else {
            '$'
        };
        format!("{prefix}{}", self.values.len())
    }

    fn condition(&mut self, text: &str) {
        self.sql.push_str(if self.conditions == 0 {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(text);
        self.conditions += 1;
    }

    /// Column equals value.
    pub(crate) fn equals(&mut self, column: &str, value: Value<'_>) {
        let bound = self.bind(value);
        self.condition(&format!("{column} = {bound}"));
    }

    fn equals_if<'a>(&mut self, column: &str, value: Option<impl Into<Value<'a>>>) {
        if let Some(value) = value {
            self.equals(column, value.into());
        }
    }

    fn flag(&mut self, column: &str, wanted: bool) {
        let text = match self.dialect {
            // Written out, not bound: only so do partial indexes apply.
            Dialect::Sqlite => format!("{column} = {}", u8::from(wanted)),
            Dialect::Postgres if wanted => column.to_owned(),
            Dialect::Postgres => format!("NOT {column}"),
        };
        self.condition(&text);
    }

    /// Adds a task filter.
    pub(crate) fn tasks(mut self, filter: &TaskFilter) -> Self {
        self.equals_if("campaign", filter.campaign.as_ref().map(Value::id));
        self.equals_if("run", filter.run.as_ref().map(Value::id));
        self.equals_if("automation", filter.automation.as_deref());
        self.equals_if("repository", filter.repository.as_deref());
        self.equals_if("change", filter.change);
        self.equals_if("wave", filter.wave);
        self.equals_if("diff_class", filter.diff_class.as_deref());
        if !filter.statuses.is_empty() {
            let list: Vec<String> = filter
                .statuses
                .iter()
                .map(|status| self.bind(status.as_str().into()))
                .collect();
            self.condition(&format!("status IN ({})", list.join(", ")));
        }
        if filter.inbox {
            self.flag("inbox", true);
        }
        if filter.unsettled {
            self.flag("settled", false);
        }
        if let Some(text) = filter.text.as_deref() {
            let bound = self.bind(text.into());
            let function = if self.dialect == Dialect::Sqlite {
                "instr"
            } else {
                "strpos"
            };
            self.condition(&format!("{function}(repository, {bound}) > 0"));
        }
        self
    }

    /// Adds an event filter.
    pub(crate) fn events(mut self, filter: &EventFilter) -> Self {
        self.equals_if("type", filter.event_type.as_deref());
        self.equals_if("repository", filter.repository.as_deref());
        if let Some(before) = &filter.before {
            let bound = self.bind(Value::id(before));
            self.condition(&format!(
                "n < (SELECT e.n FROM events e WHERE e.id = {bound})"
            ));
        }
        self
    }

    /// Adds an order of tasks.
    pub(crate) fn order(mut self, order: TaskOrder) -> Self {
        self.sql.push_str(match order {
            TaskOrder::Newest => " ORDER BY updated_at DESC, n DESC",
            TaskOrder::Target => " ORDER BY wave, repository, path, key, n",
        });
        self
    }

    /// Newest first, by order of insertion.
    pub(crate) fn newest(mut self) -> Self {
        self.sql.push_str(" ORDER BY n DESC");
        self
    }

    /// Adds a condition that needs no value.
    pub(crate) fn and(mut self, text: &str) -> Self {
        self.condition(text);
        self
    }

    /// Cuts a page out.
    pub(crate) fn page(mut self, page: Page) -> Self {
        let limit = self.bind(page.limit.into());
        let offset = self.bind(page.offset.into());
        self.sql.push_str(" LIMIT ");
        self.sql.push_str(&limit);
        self.sql.push_str(" OFFSET ");
        self.sql.push_str(&offset);
        self
    }
}

impl<'a> From<Query> for (String, Vec<Value<'a>>) {
    fn from(query: Query) -> Self {
        (query.sql, query.values)
    }
}
