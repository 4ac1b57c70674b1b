//! `report`: one file for a remote helper, with everything about a pipeline except secrets.
//!
//! ```text
//! read     what the API server, the brokers and the pods answer → Archive; with logs and metrics the only part that asks
//! logs     the logs of containers
//! metrics  the metrics of pods
//! archive  bounds, the index, the bytes of the zip file   pure, as all below
//! mask     an object → the same without secrets
//! text     a text → the same without secrets
//! ```

mod archive;
mod logs;
mod mask;
mod metrics;
mod read;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use millrace_api::names::Names;
use millrace_api::params::rfc3339;
use serde_json::json;
use snafu::ResultExt;
use tokio::fs::{OpenOptions, try_exists};
use tokio::io::AsyncWriteExt;

use super::Context;
use crate::arguments::Report;
use crate::cluster::names_of;
use crate::failure::WriteFileSnafu;
use crate::screen::{Format, document, printable, write};
use crate::{Failure, Outcome};
use archive::Head;

/// Writes a report. It is fine with parts missing, since what cannot be read is often why there is a report.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it writes is given the time")]
pub async fn run(context: &Context<'_>, flags: &Report) -> Result<Outcome, Failure> {
    let pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let names = names_of(&pipeline);
    let now = Utc::now();
    let file = flags.file.clone().unwrap_or_else(|| default_file(&names, now));
    let shown = file.display().to_string();
    if try_exists(&file).await.context(WriteFileSnafu { file: &shown })? {
        return Err(Failure::mistake(format!("file '{shown}' exists; name another with --file")));
    }
    let archive = read::all(context, &pipeline, flags, now).await;
    let head =
        Head { pipeline: format!("{}/{}", names.namespace(), names.pipeline()), at: rfc3339(now), lines: flags.lines };
    let packed = archive.packed(&head).map_err(io::Error::from).context(WriteFileSnafu { file: &shown })?;
    save(&file, &packed).await.context(WriteFileSnafu { file: &shown })?;
    let unread = archive.unread();
    let text = match context.format {
        Format::Table => {
            let unread = unread.iter().map(|line| format!("  - {}\n", printable(line))).collect::<String>();
            let without = if unread.is_empty() { String::new() } else { format!("not in it:\n{unread}") };
            format!(
                "{shown}: {} files, {} bytes; secrets are masked, but look through it before you send it on\n{without}",
                archive.count(),
                packed.len(),
            )
        }
        format => {
            document(format, &json!({"file": shown, "files": archive.count(), "bytes": packed.len(), "unread": unread}))
        }
    };
    write(&text)?;
    Ok(Outcome::Fine)
}

/// Returns a name that says whose report it is, and of when.
fn default_file(names: &Names, now: DateTime<Utc>) -> PathBuf {
    let time = now.format("%Y%m%d-%H%M%S");
    PathBuf::from(format!("millrace-{}-{}-{time}.zip", names.namespace(), names.pipeline()))
}

/// Writes a new file that only the user may read.
async fn save(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(file).await?;
    file.write_all(bytes).await?;
    file.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_called_after_pipeline_and_time() {
        let now = "2026-01-31T12:05:09Z".parse().expect("a moment");
        let file = default_file(&Names::new("shop", "users"), now);
        assert_eq!(file, PathBuf::from("millrace-shop-users-20260131-120509.zip"));
    }
}
