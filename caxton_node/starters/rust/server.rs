//! An MCP server with one tool.

mod caxton;

use caxton::Error;
use serde_json::json;

#[no_mangle]
pub extern "C" fn list_tools() -> *const u8 {
    caxton::leave(Ok(json!([{
        "name": "shout",
        "description": "Turns a text into capital letters.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"]
        },
        "annotations": {"readOnlyHint": true}
    }])))
}

#[no_mangle]
pub unsafe extern "C" fn handle_tool_call(pointer: *const u8, length: usize) -> *const u8 {
    caxton::answer(pointer, length, |call| match call["name"].as_str() {
        Some("shout") => {
            let text = call["arguments"]["text"].as_str().ok_or_else(|| {
                Error::new("invalid_arguments", "`text` must be a text")
            })?;
            Ok(json!(text.to_uppercase()))
        }
        _ => Err(Error::new("not_found", "there is no such tool")),
    })
}
