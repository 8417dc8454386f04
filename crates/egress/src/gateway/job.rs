//! A call that was judged: its turn, its place in the budget, its tries.

use std::sync::{Arc, PoisonError};

use http::{HeaderValue, Response};
use model::budget::Amount;
use model::egress::EgressRefusal;
use tokio::sync::oneshot;

use super::call::{Call, End, Opened, Sure};
use super::config::GatewayConfig;
use super::endpoint::Endpoint;
use super::limits::About;
use super::refuse::{Answered, Refusal};
use super::target::{Aim, Wanted};
use super::{GATEWAY_HOST, MOST_CALLS, Shared, tries};
use crate::Body;
use crate::budget::Spender;

/// Told in answers when less than a tenth of the tightest cap is left.
const BUDGET_HEADER: &str = "x-nightcrew-budget";
const BUDGET_NEAR: &str = "near its cap: less than a tenth is left, so finish and keep your work";

/// A place among the calls of an environment, until the call ended.
#[derive(Debug)]
pub(super) struct Busy {
    shared: Arc<Shared>,
    environment: String,
}

impl Busy {
    pub(super) fn enter(
        shared: &Arc<Shared>,
        spender: &Spender,
        config: &GatewayConfig,
    ) -> Result<Self, Refusal> {
        let most = config.settings.limits.calls.unwrap_or(MOST_CALLS);
        let mut busy = shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(spender.environment.clone()).or_insert(0);
        if *count >= most {
            return Err(Refusal::new(
                EgressRefusal::VolumeExhausted,
                Answered::Later(5),
                "too many calls of this environment at the same time",
            ));
        }
        *count += 1;
        Ok(Self {
            shared: Arc::clone(shared),
            environment: spender.environment.clone(),
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut busy = self
            .shared
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.environment) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                busy.remove(&self.environment);
            }
        }
    }
}

/// A call that was judged.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<GatewayConfig>,
    pub(super) spender: Spender,
    pub(super) wanted: Wanted,
    pub(super) aims: Vec<Aim>,
}

pub(super) type Asker = oneshot::Sender<Result<Response<Body>, Refusal>>;

impl Job {
    /// Carries it out. From here on it can be stopped, also while it waits.
    pub(super) async fn run(&self, busy: Busy, asker: &Asker) -> Result<Response<Body>, Refusal> {
        let facts = &self.wanted.facts;
        let counts = self.wanted.endpoint == Endpoint::Count;
        let worst = if counts {
            Amount::default()
        } else {
            self.worst()?
        };
        let call = Call::open(
            &self.shared,
            Opened {
                number: self.shared.next(),
                spender: self.spender.clone(),
                model: facts.model.clone(),
                worst,
                sent: facts.bytes,
                busy,
            },
        );
        let _sure = Sure(Arc::clone(&call));
        let near = match self.prepare(&call, counts, asker).await {
            Ok(near) => near,
            Err(refusal) => {
                call.close(End::Free);
                return Err(refusal);
            }
        };
        let mut answer = tries::carry_out(self, &call, asker).await?;
        if near {
            answer
                .headers_mut()
                .insert(BUDGET_HEADER, HeaderValue::from_static(BUDGET_NEAR));
        }
        Ok(answer)
    }

    /// Waits for its turn and its place; whether the caps are near afterwards.
    async fn prepare(&self, call: &Call, counts: bool, asker: &Asker) -> Result<bool, Refusal> {
        let estimate = self.wanted.facts.bytes.div_ceil(4);
        self.take_turn(estimate).await?;
        call.had_turn(estimate);
        if counts {
            return Ok(false);
        }
        if asker.is_closed() {
            return Err(gone());
        }
        let budget = &self.shared.budget;
        let held = budget.reserve(&self.spender, call.worst, self.config.patience);
        let held = held.await.map_err(|refused| Refusal {
            code: EgressRefusal::BudgetExhausted,
            sentence: refused.sentence,
            kind: Answered::Budget,
        })?;
        call.holds(held);
        Ok(budget.room(&self.spender).await.is_some_and(is_near))
    }

    async fn take_turn(&self, estimate: u64) -> Result<(), Refusal> {
        let limits = &self.config.settings.limits;
        let model = &self.wanted.facts.model;
        let environment = About::Environment(&self.spender.environment);
        let of_model = limits.models.get(model).copied().unwrap_or_default();
        for (about, rate) in [
            (environment, limits.environment),
            (About::Model(model), of_model),
        ] {
            let gates = &self.shared.gates;
            let passed = gates.pass(about, rate, estimate, self.config.patience);
            passed.await.map_err(|wait| {
                let seconds = wait.as_secs().saturating_add(1).min(3600);
                Refusal::new(
                    EgressRefusal::VolumeExhausted,
                    Answered::Later(seconds),
                    "the limit of a minute is reached",
                )
            })?;
        }
        Ok(())
    }

    /// The most that this can cost, wherever it is carried out.
    fn worst(&self) -> Result<Amount, Refusal> {
        let mut worst = Amount::default();
        for aim in &self.aims {
            let most = self.wanted.facts.most(&aim.price, aim.upstream.time());
            let most = most.map_err(|unfit| {
                Refusal::new(
                    EgressRefusal::ModelNotNamed,
                    Answered::Invalid,
                    &unfit.to_string(),
                )
            })?;
            let here = aim.price.worst(most);
            worst.money = worst.money.max(here.money);
            worst.tokens = worst.tokens.max(here.tokens);
        }
        Ok(worst)
    }
}

/// Whoever asked is not there any more; nobody reads this.
pub(super) fn gone() -> Refusal {
    Refusal::new(
        EgressRefusal::Stopped,
        Answered::Invalid,
        &format!("whoever asked {GATEWAY_HOST} went away"),
    )
}

fn is_near((left, limit): (Amount, Amount)) -> bool {
    left.money.0 < limit.money.0 / 10 || left.tokens < limit.tokens / 10
}
