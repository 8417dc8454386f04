//! Takes leased steps and carries them out.
//!
//! A runner claims tasks from the [`ControlPlane`], owns their environments, and reports what
//! happened. It decides nothing about states: after every report the control plane says whether to
//! go on. Nothing an environment writes is trusted: its files are read without following links and
//! within bounds, and what it hands out as a change is checked in a second environment in which
//! nothing of the task ever ran.
//!
//! | file | idea |
//! |---|---|
//! | `options` | what a runner is told at its start |
//! | `claim`, `held`, `handle` | asks for work, keeps its leases alive, stops in good order |
//! | `task` | drives one task from step to step |
//! | `base` | cached base trees |
//! | `place`, `environment` | folders of a task, environments over them |
//! | `before`, `toolchains` | what happens before the first step: versions compared, commands of the recipe |
//! | `root`, `services` | what an environment is made of, and what runs beside its steps |
//! | `reach` | an environment with its network |
//! | `egress` | the only way out of environments, and what happened on it |
//! | `fencing` | what is asked for and what was reached, in the words of sandbox and model |
//! | `exec`, `log` | runs programs inside; what they print, cleaned, bounded and masked |
//! | `steps` | one file per kind of step |
//! | `collect`, `verify`, `snapshot` | the work as git objects, and the proof that they are sound |
//! | `mask`, `sweep` | secrets kept out of what is said, and from leaving with a change |
//! | `hidden` | finds changes that git was made to overlook |
//! | `diff`, `pack`, `template` | reading diffs, writing commits, filling in texts |
//! | `baseline`, `failures`, `checks` | validators |

mod base;
mod baseline;
mod before;
mod checks;
mod claim;
mod collect;
pub mod control_plane;
mod diff;
pub mod egress;
mod environment;
mod exec;
mod failures;
pub mod fencing;
pub mod gate;
mod halt;
mod handle;
mod held;
mod hidden;
mod inputs;
mod log;
mod mask;
mod options;
mod outputs;
mod pack;
mod place;
mod reach;
pub mod root;
mod services;
mod snapshot;
mod steps;
mod sweep;
mod talk;
mod task;
mod template;
pub mod toolchains;
mod variables;
mod verify;

pub use control_plane::{ControlPlane, ControlPlaneError};
pub use egress::{Egress, EgressError, NetworkRequest, NoEgress, Outfit, Records};
pub use handle::{Runner, RunnerHandle, StartError};
pub use mask::{Known, Mask, MaskStream, NoMask, Values};
pub use options::{Checks, Clock, FileCheck, RunnerOptions};
