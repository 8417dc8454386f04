//! The nouns: typed ids, event, automation, run, task, step, change, evidence, campaign, budget.
