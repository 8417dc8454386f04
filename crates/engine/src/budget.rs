//! The arithmetic of caps: what may be held, what becomes of it, and why not.
//!
//! Accounts stand in a tree, and whoever spends names the way to it from the top. What is held
//! counts as spent until it is settled; what nobody settles counts as spent at its worst. A cap
//! further down can only be tighter in effect, because every cap of the way must leave room.
//!
//! All functions are pure over the accounts they are given; a store calls them inside one
//! transaction over rows that it has locked.

mod path;
mod tree;

use model::budget::{
    Account, BudgetAnswer, BudgetAsk, BudgetSettle, Dimension, Level, Refused, Reserving, Spending,
};

pub use path::{ORGANISATION, Place, levels, organisation, way};
pub use tree::Tree;

/// Levels of a way, at most: beyond the fixed ones there are teams.
pub const MOST_LEVELS: usize = 32;

/// A wish beyond the worst case takes at most this part of what is left, so that what is held idly
/// never keeps others from working while there is plenty.
const SHARE: u64 = 64;

/// Decides an ask over the accounts of its way, which are in the order of [`BudgetAsk::path`], and
/// counts what it grants. `had` is what the reservation holds already.
///
/// Nothing is changed unless the answer is [`BudgetAnswer::Granted`], except that accounts learn
/// the names and caps that the ask knows.
pub fn reserve(accounts: &mut [Account], had: &Spending, ask: &BudgetAsk) -> BudgetAnswer {
    learn(accounts, &ask.path);
    let need = needed(had, ask);
    let mut waits = None;
    for (account, level) in accounts.iter().zip(&ask.path) {
        match room(account, level, &need) {
            Room::Enough => {}
            Room::Later(dimension) => {
                waits.get_or_insert_with(|| refusal(account, level, dimension, &need, true));
            }
            Room::Never(dimension) => {
                return BudgetAnswer::Refused(refusal(account, level, dimension, &need, false));
            }
        }
    }
    if let Some(refused) = waits {
        return BudgetAnswer::Wait(refused);
    }
    let granted = need.plus(welcome(accounts, ask, &need));
    count(accounts, &granted);
    BudgetAnswer::Granted(granted)
}

/// Counts an ask whatever the caps say; for what is in use already. Gives what was added.
pub fn force(accounts: &mut [Account], had: &Spending, ask: &BudgetAsk) -> Spending {
    learn(accounts, &ask.path);
    let need = needed(had, ask);
    count(accounts, &need);
    need
}

/// Settles a part of a reservation over the accounts it counts in, and gives what is left of it.
#[must_use]
pub fn settle(accounts: &mut [Account], amount: &Spending, settle: &BudgetSettle) -> Spending {
    let spent = settle.spent.flow();
    let taken = spent.plus(settle.release).min(*amount);
    for account in accounts {
        account.held = account.held.minus(taken);
        account.spent = account.spent.plus(spent);
    }
    amount.minus(taken)
}

/// Ends a reservation whose holder is gone: it counts as spent at its worst; what was in use is
/// given back.
pub fn expire(accounts: &mut [Account], amount: &Spending) {
    let all = BudgetSettle {
        id: String::new(),
        spent: amount.flow(),
        release: *amount,
    };
    let _ = settle(accounts, amount, &all);
}

/// How much room the tightest cap of each dimension leaves, and how large that cap is; absent where
/// nothing is capped.
#[must_use]
pub fn tightest(
    accounts: &[Account],
    levels: &[Level],
    dimension: Dimension,
) -> Option<(u64, u64)> {
    let rooms = accounts.iter().zip(levels).filter_map(|(account, level)| {
        let cap = cap(account, level, dimension)?;
        let used = used(account, dimension)?;
        Some((cap.saturating_sub(used), cap))
    });
    rooms.min()
}

/// The first cap that is used up by what was spent alone, as a refusal: for asking before work
/// begins that will want to spend.
#[must_use]
pub fn exhausted(
    accounts: &[Account],
    levels: &[Level],
    dimensions: &[Dimension],
) -> Option<Refused> {
    for (account, level) in accounts.iter().zip(levels) {
        for dimension in dimensions {
            let cap = cap(account, level, *dimension);
            if cap.is_some_and(|cap| account.spent.get(*dimension) >= cap) {
                let mut need = Spending::ZERO;
                *need.at(*dimension) = 1;
                return Some(refusal(account, level, *dimension, &need, false));
            }
        }
    }
    None
}

enum Room {
    Enough,
    /// Not now.
    Later(Dimension),
    /// Not even if all that is held were given back.
    Never(Dimension),
}

fn needed(had: &Spending, ask: &BudgetAsk) -> Spending {
    match ask.reserving {
        Reserving::More => ask.worst,
        Reserving::AtLeast => ask.worst.minus(*had),
    }
}

/// The cap that holds: what whoever asks knows, raised by persons.
fn cap(account: &Account, level: &Level, dimension: Dimension) -> Option<u64> {
    level.caps.raised_to(&account.raised).get(dimension)
}

/// Absent when it is more than can be counted.
fn used(account: &Account, dimension: Dimension) -> Option<u64> {
    account
        .spent
        .get(dimension)
        .checked_add(account.held.get(dimension))
}

fn room(account: &Account, level: &Level, need: &Spending) -> Room {
    let mut later = None;
    for dimension in Dimension::ALL {
        let need = need.get(dimension);
        if need == 0 {
            continue;
        }
        let with_spent = account.spent.get(dimension).checked_add(need);
        let with_all = used(account, dimension).and_then(|used| used.checked_add(need));
        let cap = cap(account, level, dimension).unwrap_or(u64::MAX);
        // What cannot be counted is above every cap.
        match (with_spent, with_all) {
            (Some(spent), _) if spent > cap => return Room::Never(dimension),
            (None, _) => return Room::Never(dimension),
            (_, Some(all)) if all <= cap => {}
            _ => {
                later.get_or_insert(dimension);
            }
        }
    }
    later.map_or(Room::Enough, Room::Later)
}

/// What is granted beyond the need: never more than a share of what the tightest cap leaves.
fn welcome(accounts: &[Account], ask: &BudgetAsk, need: &Spending) -> Spending {
    let mut extra = ask.wish.minus(ask.worst);
    if ask.reserving == Reserving::AtLeast {
        return Spending::ZERO;
    }
    for dimension in Dimension::ALL {
        for (account, level) in accounts.iter().zip(&ask.path) {
            let cap = cap(account, level, dimension).unwrap_or(u64::MAX);
            let after =
                used(account, dimension).and_then(|used| used.checked_add(need.get(dimension)));
            let left = after.map_or(0, |after| cap.saturating_sub(after));
            let most = extra.at(dimension);
            *most = (*most).min(left / SHARE);
        }
    }
    extra
}

fn count(accounts: &mut [Account], amount: &Spending) {
    for account in accounts {
        account.held = account.held.plus(*amount);
    }
}

fn learn(accounts: &mut [Account], path: &[Level]) {
    let mut parent = None;
    for (account, level) in accounts.iter_mut().zip(path) {
        account.scope.clone_from(&level.scope);
        // Who does not know its name does not know its caps either.
        if !level.title.is_empty() {
            account.title.clone_from(&level.title);
            account.parent = parent;
            account.caps = level.caps;
        }
        parent = Some(level.scope.clone());
    }
}

fn refusal(
    account: &Account,
    level: &Level,
    dimension: Dimension,
    need: &Spending,
    waits: bool,
) -> Refused {
    let cap = cap(account, level, dimension).unwrap_or(u64::MAX);
    let key = dimension.key().replace('_', "-");
    let title = if level.title.is_empty() {
        &level.scope
    } else {
        &level.title
    };
    let cap = dimension.show(cap);
    let sentence = if dimension.is_stock() {
        format!("{title} has its {cap} in use; it goes on when one is free")
    } else if waits {
        let held = dimension.show(account.held.get(dimension));
        format!(
            "{title} may spend {cap}, and what is left of it is held for calls under way ({held})"
        )
    } else {
        let spent = dimension.show(account.spent.get(dimension));
        let wanted = dimension.show(need.get(dimension));
        format!(
            "{title} has spent {spent} of its {cap}, which leaves no room for {wanted}; `nightcrew budget raise {} --{key} N` goes on",
            level.scope
        )
    };
    Refused {
        scope: level.scope.clone(),
        sentence,
    }
}
