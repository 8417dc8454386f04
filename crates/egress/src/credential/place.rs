//! Putting a value in the one place it is bound to, and refusing a placeholder anywhere else.

use http::HeaderMap;
use model::egress::EgressRefusal;
use model::network::CredentialUse;

use super::find::suspicious;
use super::{Credentials, Placed, Ready};

impl Credentials {
    /// Makes a request's head ready to leave, under the rule that permits it: `used` is what that
    /// rule binds, path and query are as sent.
    ///
    /// Where the credential has a variable, the value takes the placeholder's place in the bound
    /// header, if the client wrote exactly that header, once; a request without the header leaves
    /// without the credential. Where it has none, the header is put in, in place of whatever the
    /// client sent under its name. Nothing else is changed.
    ///
    /// # Errors
    /// [`EgressRefusal::CredentialMisplaced`] when a placeholder, of this environment or another,
    /// stands anywhere but there; [`EgressRefusal::CredentialMissing`] when it stands there but no
    /// value is at hand. The head must not leave then.
    pub fn place(
        &self,
        used: Option<&CredentialUse>,
        path: &str,
        query: &str,
        headers: &mut HeaderMap,
    ) -> Result<Option<Placed>, EgressRefusal> {
        let held = self.0.load();
        let ready = used.and_then(|used| held.ready.iter().find(|ready| ready.bound.used == *used));
        if suspicious(path.as_bytes()) || suspicious(query.as_bytes()) {
            return Err(EgressRefusal::CredentialMisplaced);
        }
        let wanted = match (used, ready) {
            (None, _) => Wanted::No,
            (Some(used), None) => missing(used, headers)?,
            (Some(_), Some(ready)) => wanted(ready, headers)?,
        };
        if held_elsewhere(headers, ready.filter(|_| wanted == Wanted::Yes)) {
            return Err(EgressRefusal::CredentialMisplaced);
        }
        match (wanted, ready) {
            (Wanted::Yes, Some(ready)) => {
                // Insert, not append: there is one afterwards, however many there were.
                headers.insert(ready.form.header.clone(), ready.header.clone());
                Ok(Some(Placed {
                    secret: ready.bound.used.secret.clone(),
                }))
            }
            (Wanted::Missing, _) => Err(EgressRefusal::CredentialMissing),
            _ => Ok(None),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
    /// It would be put in, but there is none.
    Missing,
}

/// Whether the client asks for the value, by the exact header or by there being no variable.
fn wanted(ready: &Ready, headers: &HeaderMap) -> Result<Wanted, EgressRefusal> {
    let mut sent = headers.get_all(&ready.form.header).iter();
    if ready.bound.used.variable.is_none() {
        // What the client wrote there is thrown away, but a placeholder there is a mistake.
        return if sent.any(|value| suspicious(value.as_bytes())) {
            Err(EgressRefusal::CredentialMisplaced)
        } else {
            Ok(Wanted::Yes)
        };
    }
    let exact = |text: &str| ready.form.is(text, &ready.bound.placeholder);
    match (sent.next(), sent.next()) {
        (Some(only), None) if only.to_str().is_ok_and(exact) => Ok(Wanted::Yes),
        // Anything that resembles it is found with the other headers.
        _ => Ok(Wanted::No),
    }
}

/// The rule binds a credential whose value is missing: a request that would have it is refused, and
/// one that would not may leave.
fn missing(used: &CredentialUse, headers: &HeaderMap) -> Result<Wanted, EgressRefusal> {
    let form = super::Form::of(used).map_err(|_| EgressRefusal::CredentialMissing)?;
    if used.variable.is_none() {
        return Ok(Wanted::Missing);
    }
    let mut sent = headers.get_all(&form.header).iter();
    match (sent.next(), sent.next()) {
        (Some(only), None) if suspicious(only.as_bytes()) => Err(EgressRefusal::CredentialMissing),
        _ => Ok(Wanted::No),
    }
}

/// Whether a placeholder is in any name or value but those of the bound header.
fn held_elsewhere(headers: &HeaderMap, bound: Option<&Ready>) -> bool {
    headers.iter().any(|(name, value)| {
        let is_bound = bound.is_some_and(|ready| *name == ready.form.header);
        suspicious(name.as_str().as_bytes()) || (!is_bound && suspicious(value.as_bytes()))
    })
}
