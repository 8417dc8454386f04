//! What happens in an environment before the first step: versions of tools are compared, and the
//! recipe's own commands run.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use model::protocol::Report;
use model::reason::ReasonCode;
use sandbox::Environment;

use crate::exec::{Program, capture};
use crate::halt::Halt;
use crate::task::Work;
use crate::toolchains::{Tool, Wanted};
use crate::{gate, toolchains};

/// Bytes of output that are kept of a recipe's own commands.
const OUTPUT: usize = 64 * 1024;
/// Most versions that are remembered.
const VERSIONS: usize = 1000;

impl Work {
    /// Commands of the recipe before the first step that is left, or in an environment beside that of
    /// the task. `fresh`: nothing ran in its workspace yet.
    pub(crate) async fn before(
        &self,
        environment: &Arc<Environment>,
        fresh: bool,
    ) -> Result<(), Halt> {
        let Some(ready) = &self.recipe.root else {
            return Ok(());
        };
        let prepare = ready.prepare.iter().filter(|_| fresh);
        for argv in prepare.chain(&ready.start) {
            let program = Program {
                argv: argv.clone(),
                env: self.recipe_variables(),
                cwd: ready.workdir.clone(),
                stdin: None,
                timeout: self.shared.options.step_timeout,
            };
            let mut stop = self.talk.stop.clone();
            let captured = capture(environment, program, &mut stop, OUTPUT).await?;
            if !captured.succeeded() {
                let said = crate::log::plain(captured.err.trim_ascii());
                let sentence = format!(
                    "the recipe's command `{}` failed before the first step: {}; correct the recipe or retry the task",
                    argv.join(" "),
                    said.lines().last().unwrap_or("it printed nothing")
                );
                return Err(Halt::failed(ReasonCode::RecipeFailed, sentence));
            }
        }
        Ok(())
    }

    /// Compares the versions that the repository and the recipe ask for with those that are there.
    pub(crate) async fn compare_toolchains(
        &mut self,
        environment: &Arc<Environment>,
    ) -> Result<(), Halt> {
        let ready = self.recipe.root.as_ref();
        let required = ready.map(|ready| ready.toolchains.clone());
        let wanted = Wanted::read(Some(&self.recipe.base), &required.unwrap_or_default());
        let mut versions = BTreeMap::new();
        for (tool, of_it) in wanted.tools() {
            let version = self.version_of(environment, &tool, of_it).await?;
            versions.insert(tool, version);
        }
        // Our own questions are no news, should exec control have refused one.
        if let Some(mut source) = gate::source(environment) {
            drop(source());
        }
        let judged = wanted.judge(&versions);
        if let Some(root) = &mut self.isolation.root {
            root.toolchains.clone_from(&judged.warnings);
        }
        for report in &mut self.pending {
            if let Report::Prepared { isolation, .. } = report {
                isolation.clone_from(&self.isolation);
            }
        }
        self.notes = judged.warnings;
        match judged.missing.first() {
            None => Ok(()),
            Some(sentence) => Err(Halt::failed(ReasonCode::RecipeFailed, sentence.clone())),
        }
    }

    /// Asks a tool inside for its version, once for each root.
    async fn version_of(
        &self,
        environment: &Arc<Environment>,
        tool: &Tool,
        wanted: Vec<String>,
    ) -> Result<Option<String>, Halt> {
        let ready = self.recipe.root.as_ref();
        let root = ready.and_then(|ready| ready.evidence.recipe.clone());
        let definition = &self.recipe.definition;
        let host = || format!("host {:?} {:?}", definition.folders, definition.variables);
        let key = (root.unwrap_or_else(host), tool.clone(), wanted);
        let known = || {
            self.shared
                .versions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(version) = known().get(&key) {
            return Ok(version.clone());
        }
        let mut env = ready.map(|ready| ready.env.clone()).unwrap_or_default();
        env.extend(definition.variables.clone());
        let command = tool.version_command().unwrap_or_default();
        let program = Program {
            argv: command.iter().map(|word| (*word).to_owned()).collect(),
            env: env.into_iter().collect(),
            cwd: self.cwd(),
            stdin: None,
            timeout: toolchains::PATIENCE,
        };
        let mut stop = self.talk.stop.clone();
        let mut said = capture(environment, program, &mut stop, toolchains::ANSWER).await?;
        said.out.push(b'\n');
        said.out.append(&mut said.err);
        let version = toolchains::version(tool, &said.out);
        let mut known = known();
        if known.len() >= VERSIONS {
            known.clear();
        }
        known.insert(key, version.clone());
        Ok(version)
    }
}
