//! What commands of a task find in their variables, and where they begin.

use std::collections::BTreeMap;

use model::automation::StepDefinition;

use crate::reach::Made;
use crate::task::Work;

impl Work {
    /// Variables of the recipe's own commands.
    pub(crate) fn recipe_variables(&self) -> Vec<(String, String)> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        if let Some(ready) = &self.recipe.root {
            all.extend(ready.env.clone());
        }
        all.extend(self.network_variables());
        all.into_iter().collect()
    }

    /// Variables that the network of its environment needs.
    pub(crate) fn network_variables(&self) -> Vec<(String, String)> {
        let made = self.environment.as_ref();
        made.map(Made::variables).unwrap_or_default()
    }

    /// Variables that every step gets; `network` are those of the environment it is for.
    pub(crate) fn variables(
        &self,
        index: u32,
        step: &StepDefinition,
        network: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let task = &self.assignment.task;
        let environment = &self.assignment.automation.definition.environment;
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        if let Some(ready) = &self.recipe.root {
            all.extend(ready.env.clone());
        }
        // Over an image's, under what the automation says itself.
        all.extend(network);
        all.extend(environment.variables.clone());
        all.extend(step.env.clone());
        for (name, value) in [
            ("NIGHTCREW_REPOSITORY", task.target.repository.clone()),
            ("NIGHTCREW_TASK", task.id.to_string()),
            ("NIGHTCREW_RUN", task.run.to_string()),
            ("NIGHTCREW_AUTOMATION", task.automation.clone()),
            ("NIGHTCREW_STEP", step.id_at(index as usize)),
            ("NIGHTCREW_ATTEMPT", task.attempt.to_string()),
            ("NIGHTCREW_IN", "/nightcrew/in".to_owned()),
            ("NIGHTCREW_OUT", "/nightcrew/out".to_owned()),
        ] {
            all.insert(name.to_owned(), value);
        }
        all.into_iter().collect()
    }

    /// Where steps start: the folder of the target, else where the recipe says.
    pub(crate) fn cwd(&self) -> Option<String> {
        let path = &self.assignment.task.target.path;
        if path.is_empty() {
            return self.recipe.root.as_ref()?.workdir.clone();
        }
        Some(format!("/work/{path}"))
    }
}
