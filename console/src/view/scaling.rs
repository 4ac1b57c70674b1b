//! A pipeline's resource → how the number of its processors follows the load, and the last change.

use millrace_api::StreamingPipeline;
use millrace_api::crd::ScalingMode;
use millrace_api::crd::status::{ScaledStatus, ScalingStatus};

use super::moment;
use crate::api::pipeline::{ScaledView, ScalingView};

/// Returns how the number follows the load. `None`: it does not, or the operator has not said yet.
pub fn scaling(resource: &StreamingPipeline) -> Option<ScalingView> {
    let written = resource.spec.processor.scaling.as_ref()?;
    let automatic = match written.mode {
        Some(ScalingMode::Auto) => true,
        Some(ScalingMode::Recommend) => false,
        // The status may be that of the mode before.
        Some(ScalingMode::Off) | None => return None,
    };
    let ScalingStatus { current, recommended, reason, message, since, last_scaled, capacity: _, needed: _ } =
        resource.status.as_ref()?.scaling()?;
    Some(ScalingView {
        automatic,
        min: written.min,
        max: written.max,
        current: *current,
        recommended: *recommended,
        reason: reason.clone(),
        message: message.clone(),
        since: moment(since),
        last: last_scaled.as_ref().map(scaled),
    })
}

fn scaled(written: &ScaledStatus) -> ScaledView {
    let ScaledStatus { at, from, to, rate: _, message } = written;
    ScaledView { time: moment(at), from: *from, to: *to, message: message.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::pipeline::fixtures::pipeline;
    use super::*;

    fn of(mode: &str, status: Value) -> Option<ScalingView> {
        let mut resource = pipeline(status);
        let written = serde_json::from_value(json!({"mode": mode, "max": 6})).expect("it is valid");
        resource.spec.processor.scaling = Some(written);
        scaling(&resource)
    }

    #[test]
    fn shows_the_number_and_why_where_it_follows_the_load() {
        let status = json!({"conditions": [], "processor": {"ready": "2/2", "replicas": 2, "selector": "", "scaling": {
            "current": 2, "recommended": 4, "reason": "ScaledUp", "message": "Would scale 2 → 4: much comes in",
            "since": "2026-01-01T00:00:00Z",
            "lastScaled": {"at": "2025-12-31T00:00:00Z", "from": 1, "to": 2, "rate": 9.0, "message": "Scales 1 → 2: more"},
        }}});
        let shown = of("Recommend", status.clone()).expect("it is recommended");
        assert_eq!((shown.automatic, shown.current, shown.recommended, shown.min, shown.max), (false, 2, 4, 1, 6));
        assert_eq!(shown.last.map(|last| (last.from, last.to)), Some((1, 2)));
        assert!(of("Auto", status.clone()).is_some_and(|shown| shown.automatic));
        // The controls: it was switched off, and the operator has not looked yet.
        assert_eq!(of("Off", status), None);
        assert_eq!(of("Auto", Value::Null), None);
    }
}
