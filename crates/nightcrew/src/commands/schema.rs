//! `nightcrew schema`: the JSON Schema of automation files.

use crate::failure::Failure;
use crate::print;

pub(super) fn execute() -> Result<u8, Failure> {
    print::json(&schemars::schema_for!(model::automation::Definition));
    Ok(0)
}
