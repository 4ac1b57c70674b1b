//! Logs of pods: as a text, and followed live. Read with the viewer's token, line by line, so that memory is bounded.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::stream::{Sender, answer};
use crate::api::pods::{LogLines, LogQuery};
use crate::refusal::Refusal;
use crate::viewer::Viewer;

/// Lines where nobody says how many.
const DEFAULT_TAIL: u32 = 1_000;
/// Most lines of one answer.
const MOST: u32 = 10_000;
/// Most bytes of one answer.
const MOST_BYTES: i64 = 16 << 20;
/// Lines that are sent together.
const TOGETHER: usize = 500;
/// How long lines are gathered.
const GATHERED: Duration = Duration::from_millis(250);

/// Gives a log as a text.
pub async fn logs(
    viewer: Viewer,
    Path((namespace, name, pod)): Path<(String, String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refusal> {
    viewer.pipeline(&namespace, &name).await?;
    let params = params(&query, false)?;
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), &namespace);
    let log =
        api.log_stream(&pod, &params).await.map_err(|error| viewer.kube(&error, &format!("log of pod '{pod}'")))?;
    let contains = query.contains.filter(|text| !text.is_empty()).map(|text| text.to_lowercase());
    let lines = log.lines().try_filter_map(move |line| {
        let wanted = contains.as_ref().is_none_or(|text| line.to_lowercase().contains(text));
        std::future::ready(Ok(wanted.then(|| format!("{line}\n"))))
    });
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Follows a log.
pub async fn follow(
    viewer: Viewer,
    Path((namespace, name, pod)): Path<(String, String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<impl IntoResponse, Refusal> {
    viewer.pipeline(&namespace, &name).await?;
    let params = params(&query, true)?;
    let permits = viewer.stream()?;
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), &namespace);
    let log =
        api.log_stream(&pod, &params).await.map_err(|error| viewer.kube(&error, &format!("log of pod '{pod}'")))?;
    let contains = query.contains.filter(|text| !text.is_empty()).map(|text| text.to_lowercase());
    Ok(answer(move |sender| async move {
        let _permits = permits;
        let wanted = |line: &String| contains.as_ref().is_none_or(|text| line.to_lowercase().contains(text));
        let mut lines = std::pin::pin!(log.lines());
        let mut rhythm = tokio::time::interval(GATHERED);
        let mut gathered = Vec::new();
        loop {
            let goes_on = tokio::select! {
                () = sender.closed() => return,
                line = lines.next() => match line {
                    Some(Ok(line)) => {
                        gathered.extend(Some(line).filter(wanted));
                        gathered.len() < TOGETHER || flush(&sender, &mut gathered).await
                    }
                    Some(Err(error)) => {
                        flush(&sender, &mut gathered).await;
                        sender.problem(&Refusal::unavailable("the log breaks off", &error)).await;
                        return;
                    }
                    None => {
                        flush(&sender, &mut gathered).await;
                        sender.send("end", &serde_json::json!({})).await;
                        return;
                    }
                },
                _ = rhythm.tick() => {
                    if !viewer.is_there() {
                        return sender.expired().await;
                    }
                    flush(&sender, &mut gathered).await
                }
            };
            if !goes_on {
                return;
            }
        }
    }))
}

async fn flush(sender: &Sender, gathered: &mut Vec<String>) -> bool {
    if gathered.is_empty() {
        return true;
    }
    sender.send("lines", &LogLines { lines: std::mem::take(gathered) }).await
}

fn params(query: &LogQuery, follow: bool) -> Result<LogParams, Refusal> {
    let tail = query.tail.unwrap_or(DEFAULT_TAIL);
    if !(1..=MOST).contains(&tail) {
        return Err(Refusal::field("tail", format!("it must be from 1 to {MOST}")));
    }
    Ok(LogParams {
        container: query.container.clone().filter(|container| !container.is_empty()),
        follow,
        limit_bytes: (!follow).then_some(MOST_BYTES),
        previous: query.previous,
        since_seconds: query.since_seconds.map(i64::from),
        tail_lines: Some(tail.into()),
        timestamps: true,
        ..LogParams::default()
    })
}
