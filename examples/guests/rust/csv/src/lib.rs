//! An MCP server that reads CSV: what columns there are, and sums of a column by another.

mod caxton;

use caxton::Error;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;

#[no_mangle]
pub extern "C" fn list_tools() -> *const u8 {
    let csv = json!({"type": "string", "description": "CSV text with a header line."});
    caxton::leave(Ok(json!([
        {
            "name": "describe_columns",
            "description": "Lists the columns of a CSV text: how many values each has, and of those \
                            that hold numbers the least, the largest and the mean.",
            "inputSchema": {
                "type": "object",
                "properties": {"csv": csv},
                "required": ["csv"],
                "additionalProperties": false
            },
            "annotations": {"readOnlyHint": true}
        },
        {
            "name": "sum_by",
            "description": "Adds up one column of a CSV text for each value of another.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "csv": csv,
                    "column": {"type": "string", "description": "What is added up."},
                    "by": {"type": "string", "description": "What it is grouped by."}
                },
                "required": ["csv", "column", "by"],
                "additionalProperties": false
            },
            "annotations": {"readOnlyHint": true}
        }
    ])))
}

#[no_mangle]
pub unsafe extern "C" fn handle_tool_call(pointer: *const u8, length: usize) -> *const u8 {
    caxton::answer(pointer, length, |call| {
        let arguments = &call["arguments"];
        match call["name"].as_str() {
            Some("describe_columns") => describe(text(arguments, "csv")?),
            Some("sum_by") => sum_by(
                text(arguments, "csv")?,
                text(arguments, "column")?,
                text(arguments, "by")?,
            ),
            _ => Err(Error::new("not_found", format!("there is no tool {}", call["name"]))),
        }
    })
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, Error> {
    arguments[name].as_str().ok_or_else(|| wrong(format!("`{name}` must be a text")))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new("invalid_arguments", message)
}

fn malformed(error: csv::Error) -> Error {
    wrong(format!("the CSV cannot be read: {error}"))
}

struct Column {
    count: u64,
    numbers: Vec<f64>,
}

fn describe(csv_text: &str) -> Result<Value, Error> {
    let mut reader = csv::Reader::from_reader(csv_text.as_bytes());
    let names = reader.headers().map_err(malformed)?.clone();
    let mut columns: Vec<Column> =
        names.iter().map(|_| Column { count: 0, numbers: Vec::new() }).collect();
    for row in reader.records() {
        for (column, field) in columns.iter_mut().zip(row.map_err(malformed)?.iter()) {
            if !field.is_empty() {
                column.count += 1;
                column.numbers.extend(field.trim().parse::<f64>().ok().filter(|n| n.is_finite()));
            }
        }
    }
    let mut described = Map::new();
    for (name, column) in names.iter().zip(columns) {
        let mut facts = json!({"count": column.count});
        if column.count > 0 && column.numbers.len() as u64 == column.count {
            let least = column.numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = column.numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = column.numbers.iter().sum();
            facts["minimum"] = json!(least);
            facts["maximum"] = json!(largest);
            facts["mean"] = json!(sum / column.numbers.len() as f64);
        }
        described.insert(name.to_owned(), facts);
    }
    Ok(Value::Object(described))
}

fn sum_by(csv_text: &str, column: &str, by: &str) -> Result<Value, Error> {
    let mut reader = csv::Reader::from_reader(csv_text.as_bytes());
    let names = reader.headers().map_err(malformed)?.clone();
    let place = |wanted: &str| {
        names.iter().position(|name| name == wanted).ok_or_else(|| {
            let known: Vec<&str> = names.iter().collect();
            wrong(format!("there is no column `{wanted}`; there are {}", known.join(", ")))
        })
    };
    let (summed, group) = (place(column)?, place(by)?);
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(malformed)?;
        let value: f64 = row[summed].trim().parse().map_err(|_| {
            wrong(format!("row {}: `{}` is not a number", number + 1, &row[summed]))
        })?;
        *sums.entry(row[group].to_owned()).or_default() += value;
    }
    Ok(json!(sums))
}
