//! Shows the exact bytes, asks, signs and sends.

use anyhow::bail;
use ed25519_dalek::{Signer, SigningKey};
use millet_agent::output::{confirm, say};
use millet_agent::{Device, reports};
use millet_protocol::{MessageKind, SignedMessage, visible_json};
use serde::Serialize;

/// Signs a message with the device's key and sends it, if its owner agrees to the very bytes.
pub async fn send(
    device: &Device,
    kind: MessageKind,
    message: &impl Serialize,
    path: &str,
    yes: bool,
) -> anyhow::Result<()> {
    // Spelt out before it is signed, so that the very bytes can be shown.
    let body = visible_json(&serde_json::to_string(message)?);
    if body.len() > SignedMessage::LONGEST_BODY {
        bail!(
            "the message is {} bytes long; servers take {}",
            body.len(),
            SignedMessage::LONGEST_BODY
        );
    }
    let key = SigningKey::from_bytes(&device.state.secret("device.key", &*device.edge)?);
    let signature = key.sign(&SignedMessage::signed_bytes(kind, &body));
    let signed = SignedMessage {
        body,
        key: hex::encode(key.verifying_key().as_bytes()),
        signature: hex::encode(signature.to_bytes()),
    };
    let text = serde_json::to_string(&signed)?;
    let url = format!("{}{path}", device.config.server());
    say(&format!("to {url}, exactly these {} bytes:\n{text}", text.len()));
    if !yes {
        confirm("Send it?")?;
    }
    reports::send(&device.state, &device.client, &url, &text, device.edge.now()).await?;
    Ok(())
}
