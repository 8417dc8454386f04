//! Conditions in CEL (Common Expression Language), over plain JSON values.
//!
//! An expression can neither loop for ever nor reach outside. Its size and nesting are bounded when
//! it is read, and its work before it is evaluated, because nested comprehensions multiply.

mod cost;

use cel::{Context, Program, Value};

/// Longest expression, in bytes.
pub const LONGEST: usize = 4096;

/// Most comprehension macros in one expression; each may multiply the work of another.
const MOST_COMPREHENSIONS: usize = 4;

/// An expression that is not CEL, or cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It cannot be read.
    #[error("`{expression}` is no condition: {cause}")]
    Syntax {
        /// The expression.
        expression: String,
        /// What the reader says.
        cause: String,
    },
    /// It can be read, and not evaluated.
    #[error("`{expression}` cannot be evaluated: {cause}")]
    Evaluation {
        /// The expression.
        expression: String,
        /// What the evaluator says.
        cause: String,
    },
    /// It gives something else than true or false.
    #[error("`{expression}` gives {found}, and not true or false")]
    NotBoolean {
        /// The expression.
        expression: String,
        /// What it gives.
        found: String,
    },
}

/// A compiled condition.
pub struct Condition {
    expression: String,
    program: Program,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Condition").field(&self.expression).finish()
    }
}

impl Condition {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ConditionError::Syntax`] when it is not CEL or too large.
    pub fn compile(expression: &str) -> Result<Self, ConditionError> {
        let syntax = |cause: String| ConditionError::Syntax {
            expression: expression.to_owned(),
            cause,
        };
        if expression.len() > LONGEST {
            return Err(syntax(format!("it is longer than {LONGEST} bytes")));
        }
        let comprehensions: usize = [".all(", ".exists(", ".exists_one(", ".map(", ".filter("]
            .iter()
            .map(|name| expression.matches(name).count())
            .sum();
        if comprehensions > MOST_COMPREHENSIONS {
            return Err(syntax(format!(
                "it has more than {MOST_COMPREHENSIONS} comprehensions"
            )));
        }
        let program = Program::compile(expression).map_err(|error| syntax(error.to_string()))?;
        if cost::is_too_deep(program.expression()) {
            return Err(syntax(format!(
                "it nests deeper than {} levels",
                cost::DEEPEST
            )));
        }
        Ok(Self {
            expression: expression.to_owned(),
            program,
        })
    }

    /// Evaluates it over named values.
    ///
    /// # Errors
    /// [`ConditionError::Evaluation`] for unknown names and type errors, and when it could take too
    /// much work over these values;
    /// [`ConditionError::NotBoolean`] when the result is neither true nor false.
    pub fn holds(&self, variables: &[(&str, &serde_json::Value)]) -> Result<bool, ConditionError> {
        let evaluation = |cause: String| ConditionError::Evaluation {
            expression: self.expression.clone(),
            cause,
        };
        if cost::of(self.program.expression(), variables) > cost::MOST {
            return Err(evaluation(
                "it could take too much work over values this large; nest fewer loops".to_owned(),
            ));
        }
        let mut context = Context::default();
        for (name, value) in variables {
            context
                .add_variable(*name, value)
                .map_err(|error| evaluation(error.to_string()))?;
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(ConditionError::NotBoolean {
                expression: self.expression.clone(),
                found: format!("{:?}", other.type_of()),
            }),
            Err(error) => Err(evaluation(error.to_string())),
        }
    }
}

/// Compiles and evaluates in one go.
///
/// # Errors
/// As [`Condition::compile`] and [`Condition::holds`].
pub fn evaluate(
    expression: &str,
    variables: &[(&str, &serde_json::Value)],
) -> Result<bool, ConditionError> {
    Condition::compile(expression)?.holds(variables)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_see_what_they_are_given_and_nothing_else() {
        let repo = json!({"files": [".travis.yml"], "archived": false, "count": 3});
        let holds = |text: &str| evaluate(text, &[("repo", &repo)]);
        assert_eq!(
            holds("repo.files.exists(f, f == '.travis.yml') && !repo.archived"),
            Ok(true)
        );
        assert_eq!(holds("repo.count > 2"), Ok(true));
        assert!(matches!(
            holds("other.count > 2"),
            Err(ConditionError::Evaluation { .. })
        ));
        assert!(matches!(
            holds("repo.count"),
            Err(ConditionError::NotBoolean { .. })
        ));
        assert!(matches!(
            holds("repo.count >"),
            Err(ConditionError::Syntax { .. })
        ));
        assert!(matches!(
            holds(&"!".repeat(5000)),
            Err(ConditionError::Syntax { .. })
        ));
    }

    #[test]
    fn integers_of_json_compare_with_integer_literals() {
        let steps = json!({"convert": {"manual": 0}});
        assert_eq!(
            evaluate("steps.convert.manual > 0", &[("steps", &steps)]),
            Ok(false)
        );
    }
}
