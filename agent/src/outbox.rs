//! Reports that wait until they can be sent.

use crate::agent::Agent;
use crate::error::{Error, HttpError};
use crate::reports::{self, Privacy};

impl Agent {
    /// Sends what the owner allows. What cannot be sent now stays for the next time.
    pub(crate) async fn flush_reports(&mut self) {
        if let Err(error) = self.try_flush().await {
            self.screen.say(&format!("reports wait: {}", error.chain()));
        }
    }

    async fn try_flush(&mut self) -> Result<(), Error> {
        if self.journal().outbox.is_empty() {
            return Ok(());
        }
        let privacy = Privacy::read(&self.device.state)?;
        let secret = self.device.state.secret("secret", &*self.device.edge)?;
        let config = &self.device.config;
        let url = format!("{}/api/v1/reports", config.server());
        while let Some(draft) = self.machine.journal().outbox.first() {
            if let Some(report) = privacy.report(draft, &config.model, &config.channel, &secret) {
                let body = serde_json::to_string(&report).map_err(|source| Error::Form {
                    path: "report".into(),
                    what: "JSON",
                    source: source.into(),
                })?;
                let sent = reports::send(
                    &self.device.state,
                    &self.device.client,
                    &url,
                    &body,
                    self.device.edge.now(),
                )
                .await;
                match sent {
                    Ok(()) => {}
                    // Too slow, too early or too often (RFC 9110, 8470, 6585): another time.
                    Err(
                        error @ Error::Http {
                            source:
                                HttpError::Status {
                                    status: 408 | 425 | 429,
                                    ..
                                },
                            ..
                        },
                    ) => return Err(error),
                    // A server that refuses it otherwise refuses it for ever.
                    Err(Error::Http {
                        source:
                            HttpError::Status {
                                status: 400..=499, ..
                            },
                        ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.machine.journal_mut().outbox.remove(0);
            self.device.state.save_journal(self.machine.journal())?;
        }
        Ok(())
    }
}
