//! The conversion as text for the description of a change.

use std::fmt::Write as _;

use crate::{Conversion, Entry, Outcome};

impl Conversion {
    /// Entries that somebody has to act on, one for each construct.
    #[must_use]
    pub fn manual_items(&self) -> Vec<&Entry> {
        let mut items: Vec<&Entry> = Vec::new();
        for entry in &self.accounting {
            if entry.outcome == Outcome::Manual
                && !items.iter().any(|held| held.construct == entry.construct)
            {
                items.push(entry);
            }
        }
        items
    }

    /// A summary in Markdown: what was converted, what is left to do, which secrets to create.
    #[must_use]
    pub fn summary_markdown(&self) -> String {
        let mut text = format!(
            "`.travis.yml` becomes `{}`: {} of {} constructs are in the workflow, {} are not needed any more, {} need a person.\n\n",
            self.path,
            self.mapped,
            self.accounting.len(),
            self.not_needed,
            self.manual,
        );
        text.push_str(&jobs(self));
        let items = self.manual_items();
        if !items.is_empty() {
            text.push_str("\n## To do by hand\n\n");
            for item in items {
                let _ = writeln!(
                    text,
                    "- [ ] line {}, `{}`: {}",
                    item.line,
                    code(&item.construct),
                    item.detail
                );
            }
        }
        if !self.secrets.is_empty() {
            text.push_str("\n## Secrets to create\n\n");
            for secret in &self.secrets {
                text.push_str(&secret_line(secret));
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\n## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(text, "- {note}");
            }
        }
        text
    }
}

fn jobs(conversion: &Conversion) -> String {
    if conversion.equal {
        return format!(
            "Travis ran {} jobs; the workflow runs the same ones.\n",
            conversion.jobs_source.len()
        );
    }
    format!(
        "**The job sets differ:** Travis ran {} jobs, the workflow stands for {}. See `jobs_source` and `jobs_target` in `migration.json`.\n",
        conversion.jobs_source.len(),
        conversion.jobs_target.len()
    )
}

fn secret_line(secret: &crate::Secret) -> String {
    let name = secret.name.as_deref().unwrap_or("name unknown");
    let hint = secret
        .hint
        .as_deref()
        .map_or_else(String::new, |hint| format!(", comment “{}”", code(hint)));
    let used = if secret.used_in.is_empty() {
        String::new()
    } else {
        format!(", used in `{}`", code(&secret.used_in.join("`, `")))
    };
    format!(
        "- [ ] `{}` (line {}{hint}{used})\n",
        code(name),
        secret.line
    )
}

/// Text of the source as Markdown code: one line, no back-quotes of its own.
fn code(text: &str) -> String {
    text.replace("`, `", "\u{0}")
        .replace('`', "'")
        .replace(['\n', '\r'], " ")
        .replace('\u{0}', "`, `")
}
