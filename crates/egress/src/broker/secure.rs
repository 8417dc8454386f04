//! Connections that begin with TLS: the name is judged before anything is answered.

use std::sync::Arc;
use std::time::Duration;

use model::egress::{EgressKind, EgressRefusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::broker::connection::{Place, splice};
use crate::broker::environment::Environment;
use crate::broker::http::serve;
use crate::broker::io::{Prefixed, Stream};
use crate::broker::judge::{Facts, Scheme};
use crate::broker::refusal::Refusal;
use crate::name::{Host, Name};
use crate::policy::Permit;
use crate::tls::alert;
use crate::tls::hello::{Hello, HelloReader};

/// Bytes read at once while the first message is not whole.
const PART: usize = 4096;
/// Most bytes that are read away, and for how long, so that an alert is not lost with them.
const LINGER: usize = 64 * 1024;
const LINGER_TIME: Duration = Duration::from_millis(200);

/// Ends TLS as the host, and serves HTTP in it.
pub(crate) async fn end<S: Stream>(environment: Arc<Environment>, stream: S, place: &Place) {
    let Some((hello, stream)) = greeted(&environment, stream, place).await else {
        return;
    };
    if let Err(refusal) = agree(&hello, &place.host) {
        return turn_away(&environment, stream, place, &hello, &refusal).await;
    }
    let Ok(config) = environment.authority.serve(&place.host) else {
        let refusal = EgressRefusal::Unreachable.into();
        return turn_away(&environment, stream, place, &hello, &refusal).await;
    };
    let limit = environment.volume.limits().head();
    let accepting = TlsAcceptor::from(config).accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(limit, accepting).await else {
        // Who does not trust the environment's authority hangs up here: a pinned client.
        let happened = place.happened(EgressKind::Connection);
        return environment.refuse(&happened, &EgressRefusal::ProtocolInvalid.into());
    };
    let (_, session) = stream.get_ref();
    // The library read the same bytes; it has to have read the same name.
    let named = place.host.name().map(Name::as_str);
    if session.server_name() != named {
        let happened = place.happened(EgressKind::Connection);
        return environment.refuse(&happened, &EgressRefusal::NamesDisagree.into());
    }
    let second = session.alpn_protocol() == Some(b"h2");
    serve(environment, stream, Facts::at(place, Scheme::Https), second).await;
}

/// Passes TLS through to the host that its client names.
pub(crate) async fn pass<S: Stream>(
    environment: Arc<Environment>,
    stream: S,
    place: &Place,
    permit: Permit,
) {
    let Some((hello, stream)) = greeted(&environment, stream, place).await else {
        return;
    };
    let judged = agree(&hello, &place.host).and_then(|()| {
        // Whom an encrypted hello means, only the other side knows.
        if hello.encrypted {
            return Err(EgressRefusal::ProtocolInvalid.into());
        }
        Ok(())
    });
    match judged {
        Ok(()) => splice(&environment, stream, place, &permit).await,
        Err(refusal) => turn_away(&environment, stream, place, &hello, &refusal).await,
    }
}

/// Refuses a connection that begins with TLS, and records the name that it gives.
pub(crate) async fn refuse<S: Stream>(
    environment: &Arc<Environment>,
    stream: S,
    place: Place,
    refusal: &Refusal,
) {
    if let Some((hello, stream)) = greeted(environment, stream, &place).await {
        turn_away(environment, stream, &place, &hello, refusal).await;
    }
}

/// Whether the name is the one for which the address was given out.
fn agree(hello: &Hello, host: &Host) -> Result<(), Refusal> {
    match (host, &hello.name) {
        (Host::Address(_), None) => Ok(()),
        (Host::Name(pinned), Some(name)) => {
            let text = std::str::from_utf8(name).map_err(|_| EgressRefusal::NameInvalid)?;
            let name = Name::parse(text).map_err(|_| EgressRefusal::NameInvalid)?;
            if name == *pinned {
                return Ok(());
            }
            Err(EgressRefusal::NamesDisagree.into())
        }
        _ => Err(EgressRefusal::NamesDisagree.into()),
    }
}

/// Reads the first message; the stream that comes back begins with it again.
async fn greeted<S: Stream>(
    environment: &Arc<Environment>,
    mut stream: S,
    place: &Place,
) -> Option<(Hello, Prefixed<S>)> {
    let limit = environment.volume.limits().head();
    let mut reader = HelloReader::default();
    let reading = async {
        let mut part = [0; PART];
        loop {
            let count = stream
                .read(&mut part)
                .await
                .ok()
                .filter(|count| *count > 0)?;
            match reader.push(&part[..count]) {
                Ok(None) => {}
                Ok(Some(hello)) => return Some(hello),
                Err(_) => return None,
            }
        }
    };
    match tokio::time::timeout(limit, reading).await {
        Ok(Some(hello)) => Some((hello, Prefixed::new(reader.into_raw(), stream))),
        _ => {
            let happened = place.happened(EgressKind::Connection);
            environment.refuse(&happened, &EgressRefusal::ProtocolInvalid.into());
            say(&mut stream, alert::DECODE_ERROR).await;
            None
        }
    }
}

async fn turn_away<S: Stream>(
    environment: &Arc<Environment>,
    mut stream: Prefixed<S>,
    place: &Place,
    hello: &Hello,
    refusal: &Refusal,
) {
    let mut happened = place.happened(EgressKind::Connection);
    if let Some(name) = &hello.name {
        let name = name.escape_ascii().to_string();
        if name != happened.host {
            // Both names, where they disagree.
            if matches!(place.host, Host::Name(_)) {
                happened.detail = format!("at the address of {}", happened.host);
            }
            happened.host = name;
        }
    }
    environment.refuse(&happened, refusal);
    let description = match refusal.code {
        EgressRefusal::NamesDisagree | EgressRefusal::NameInvalid => alert::UNRECOGNIZED_NAME,
        _ => alert::ACCESS_DENIED,
    };
    say(&mut stream, description).await;
}

/// Sends an alert so that it arrives: unread bytes would make the kernel take it back.
async fn say<S: Stream>(stream: &mut S, description: u8) {
    let saying = async {
        stream.write_all(&alert::record(description)).await?;
        stream.shutdown().await?;
        let mut left = LINGER;
        let mut part = [0; PART];
        while left > 0 {
            match stream.read(&mut part).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(LINGER_TIME, saying).await;
}
