//! An agent that counts, and goes on counting after a restart or a new version.

mod caxton;

use caxton::Error;
use serde_json::{json, Value};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

static COUNT: AtomicI64 = AtomicI64::new(0);

/// Answers `{"add": 2}`, or anything else as if it were `{"add": 1}`.
#[no_mangle]
pub unsafe extern "C" fn handle_message(pointer: *const u8, length: usize) -> *const u8 {
    caxton::answer(pointer, length, |message| {
        let step = match &message["content"]["add"] {
            Value::Null => 1,
            number => number.as_i64().ok_or_else(|| {
                Error::new("invalid_arguments", "`add` must be a whole number")
            })?,
        };
        let count = COUNT.fetch_add(step, Relaxed) + step;
        Ok(json!({"content": {"count": count}}))
    })
}

/// The state that a newer version, or this one after a restart, goes on from.
#[no_mangle]
pub extern "C" fn snapshot() -> *const u8 {
    caxton::leave(Ok(json!({"count": COUNT.load(Relaxed)})))
}

#[no_mangle]
pub unsafe extern "C" fn restore(pointer: *const u8, length: usize) -> *const u8 {
    caxton::answer(pointer, length, |before| {
        COUNT.store(before["state"]["count"].as_i64().unwrap_or(0), Relaxed);
        Ok(Value::Null)
    })
}
