//! Fills in the texts of a change.
//!
//! Delimiters are `[[ ]]`, `[% %]` and `[# #]`, which collide neither with `${{ }}` nor with
//! `{{ }}`. Values are data: they are never read as templates.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

/// A template that cannot be filled in, in words, with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}, line {line}: {cause}")]
pub(crate) struct TemplateError {
    name: String,
    line: usize,
    cause: String,
}

/// Longest text that comes out, in bytes: what forges take.
const LONGEST: usize = 60 * 1024;

/// Fills in one template.
pub(crate) fn render(
    name: &str,
    template: &str,
    values: &minijinja::Value,
) -> Result<String, TemplateError> {
    let failed = |error: &minijinja::Error| TemplateError {
        name: name.to_owned(),
        line: error.line().unwrap_or(1),
        cause: error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned),
    };
    let syntax = SyntaxConfig::builder()
        .variable_delimiters("[[", "]]")
        .block_delimiters("[%", "%]")
        .comment_delimiters("[#", "#]")
        .build()
        .map_err(|error| failed(&error))?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let text = environment
        .render_named_str(name, template, values)
        .map_err(|error| failed(&error))?;
    Ok(crate::outputs::shortened(text, LONGEST))
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn values_are_filled_in_and_never_read_as_templates() {
        let values = context! { repository => context! { name => "[[ 7 * 6 ]] <b>" } };
        let text = render(
            "title",
            "ci: ${{ x }} {{ y }} [[ repository.name ]][# no #]",
            &values,
        )
        .unwrap();
        assert_eq!(text, "ci: ${{ x }} {{ y }} [[ 7 * 6 ]] <b>");
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let error = render("pr.md", "one\n[[ report.manual ]]", &context! {}).unwrap_err();
        assert!(error.to_string().starts_with("pr.md, line 2: "), "{error}");
        assert_eq!(
            render(
                "b",
                "[% if absent is defined and absent.x %]a[% endif %]",
                &context! {}
            )
            .unwrap(),
            ""
        );
    }
}
