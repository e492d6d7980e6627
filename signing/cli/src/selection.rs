use millet_protocol::Model;

use crate::Usage;
use crate::config::Config;

/// Which models a command is for.
#[derive(clap::Args)]
pub struct Selection {
    /// A device type; may be given several times.
    #[arg(long = "model", value_name = "MODEL", conflicts_with = "all")]
    models: Vec<Model>,
    /// Every model of millet.toml.
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// The models, each once, of which millet.toml knows every one.
    pub fn models(&self, config: &Config) -> anyhow::Result<Vec<Model>> {
        let mut models = if self.all {
            config.models.keys().cloned().collect()
        } else {
            self.models.clone()
        };
        models.sort();
        models.dedup();
        if models.is_empty() {
            let known: Vec<&str> = config.models.keys().map(Model::as_str).collect();
            let known = if known.is_empty() {
                "none yet".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Usage(format!("name a --model, or --all; millet.toml has: {known}")).into());
        }
        for model in &models {
            config.model(model)?;
        }
        Ok(models)
    }

    /// Whether there is more than one.
    pub fn is_for_many(&self, config: &Config) -> bool {
        self.models(config).is_ok_and(|models| models.len() > 1)
    }
}
