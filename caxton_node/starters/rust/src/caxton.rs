//! What a guest of Caxton exports and imports: JSON in, JSON out.
//!
//! A guest is never called by two at once and has one thread. The reference of all this is
//! docs/reference/wasm-abi.md of the server.
#![allow(dead_code)] // Not every guest needs everything.

use serde_json::{json, Value};
use std::cell::RefCell;

/// Why something cannot be done. Codes: `invalid_arguments`, `not_found`, `denied`, `unavailable`
/// (the message is tried again), `failed`.
pub struct Error {
    pub code: String,
    pub message: String,
}

impl Error {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Error { code: code.to_owned(), message: message.into() }
    }
}

thread_local! {
    /// The last answer, with its length before it. The host reads it before it calls again.
    static ANSWER: RefCell<Vec<u8>> = RefCell::new(Vec::new());
}

/// Gives the host a buffer for its input. It keeps it, so that it is never freed.
#[no_mangle]
pub extern "C" fn alloc(size: usize) -> *mut u8 {
    Box::leak(vec![0u8; size].into_boxed_slice()).as_mut_ptr()
}

#[no_mangle]
pub extern "C" fn caxton_abi_version() -> i32 {
    1
}

/// Reads the host's input, lets `work` do with it what it does, and leaves the answer for the host.
///
/// # Safety
/// `pointer` and `length` are those that the host gave: they lie in a buffer of `alloc`.
pub unsafe fn answer(
    pointer: *const u8,
    length: usize,
    work: impl FnOnce(Value) -> Result<Value, Error>,
) -> *const u8 {
    let input = std::slice::from_raw_parts(pointer, length);
    match serde_json::from_slice(input) {
        Ok(value) => leave(work(value)),
        Err(error) => leave(Err(Error::new("invalid_arguments", error.to_string()))),
    }
}

/// Leaves an answer for the host; nothing where there is nothing to say.
pub fn leave(result: Result<Value, Error>) -> *const u8 {
    if let Ok(Value::Null) = result {
        return std::ptr::null();
    }
    let value = result.unwrap_or_else(|error| {
        json!({"error": {"code": error.code, "message": error.message}})
    });
    ANSWER.with(|answer| {
        let mut answer = answer.borrow_mut();
        answer.clear();
        answer.extend([0; 4]);
        serde_json::to_writer(&mut *answer, &value).expect("a JSON value has a text");
        let length = (answer.len() - 4) as u32;
        answer[..4].copy_from_slice(&length.to_le_bytes());
        answer.as_ptr()
    })
}

mod host {
    #[link(wasm_import_module = "caxton")]
    extern "C" {
        pub fn call(
            operation: *const u8,
            operation_length: usize,
            arguments: *const u8,
            arguments_length: usize,
        ) -> usize;
        pub fn take(pointer: *mut u8, length: usize) -> usize;
    }
}

/// Asks the host for something, such as `call("kv.get", json!({"key": "n"}))`, and waits for it.
pub fn call(operation: &str, arguments: Value) -> Result<Value, Error> {
    let arguments = arguments.to_string();
    let mut text = Vec::new();
    unsafe {
        let length =
            host::call(operation.as_ptr(), operation.len(), arguments.as_ptr(), arguments.len());
        text.resize(length, 0);
        host::take(text.as_mut_ptr(), length);
    }
    let answer: Value =
        serde_json::from_slice(&text).map_err(|error| Error::new("failed", error.to_string()))?;
    match answer.get("error") {
        None => Ok(answer["ok"].clone()),
        Some(error) => Err(Error::new(
            error["code"].as_str().unwrap_or("failed"),
            error["message"].as_str().unwrap_or(""),
        )),
    }
}
