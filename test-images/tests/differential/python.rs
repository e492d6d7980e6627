//! python-tuf in one process that lives as long as the test, by lines of JSON: `.ci/differential_tuf`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::case::{Answer, Case, Said};

pub struct Python;

/// The writing end.
pub struct Questions(ChildStdin);

/// The reading end; answers come in the order of the questions.
pub struct Answers {
    lines: BufReader<ChildStdout>,
    child: Child,
}

impl Python {
    pub fn start(python: &str) -> (Questions, Answers) {
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/differential_tuf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = Questions(child.stdin.take().unwrap());
        let lines = BufReader::new(child.stdout.take().unwrap());
        (questions, Answers { lines, child })
    }
}

impl Questions {
    pub fn ask(&mut self, case: &Case) {
        let steps: Vec<Value> = case
            .steps
            .iter()
            .map(|step| {
                let files = step.files.iter().map(|(name, bytes)| (name.clone(), text(bytes)));
                json!({
                    "now": step.now.as_second(),
                    "files": files.collect::<serde_json::Map<_, _>>(),
                    "wanted": step.wanted,
                })
            })
            .collect();
        let question = json!({"first_root": text(&case.first_root), "steps": steps});
        writeln!(self.0, "{question}").unwrap();
    }
}

impl Answers {
    pub fn next(&mut self) -> Answer {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "python ended: {:?}", self.child.wait());
        let steps: Vec<(String, Vec<String>)> = serde_json::from_str(&line).unwrap();
        let said = |(refresh, targets)| Said { refresh, targets };
        steps.into_iter().map(said).collect()
    }
}

/// Bytes as JSON carries them: each a character of its number.
fn text(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .into()
}
