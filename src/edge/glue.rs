//! The steps that cross between the platform and Wasm most often, each as one crossing. The other half is `glue.js`.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::js_sys::{Array, Error, Function, JsString};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{self, JsCast as _, JsValue};
use worker::web_sys::{Request, Response};

use crate::ports::SqlText;

#[wasm_bindgen(module = "/src/edge/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = requestLines)]
    pub(super) fn request_lines(request: &Request, names: &Array) -> String;

    /// Settles with the bytes, or with undefined where the body is too long.
    #[wasm_bindgen(js_name = requestBody)]
    pub(super) fn request_body(request: &Request, limit: u32, settle: &Function, number: u32);

    #[wasm_bindgen(catch)]
    pub(super) fn response(status: u16, headers: &str, id: &str, body: &str) -> Result<Response, JsValue>;

    #[wasm_bindgen(js_name = allHeaderLines)]
    pub(super) fn all_header_lines(request: &Request) -> String;

    /// Settles with the bytes.
    #[wasm_bindgen(js_name = keepBody)]
    pub(super) fn keep_body(carrier: &JsValue, settle: &Function, number: u32);

    /// Settles with the response, or with a text where it is known why there is none. A negative length is not known.
    pub(super) fn pass(
        url: &str,
        method: &str,
        headers: &str,
        carrier: &JsValue,
        length: f64,
        limit: f64,
        milliseconds: u32,
        settle: &Function,
        number: u32,
    );

    #[wasm_bindgen(js_name = responseLines)]
    pub(super) fn response_lines(response: &JsValue) -> String;

    pub(super) fn discard(carrier: &JsValue);

    #[wasm_bindgen(catch, js_name = passedResponse)]
    pub(super) fn passed_response(
        status: u16,
        headers: &str,
        id: &str,
        carrier: &JsValue,
        is_counted: bool,
        limit: f64,
    ) -> Result<Response, JsValue>;
    #[wasm_bindgen(js_name = writeDataPoint)]
    pub(super) fn write_data_point(dataset: &JsValue, index: &str, blobs: &str, milliseconds: f64);

    /// Settles with a text, or with undefined where it takes too long.
    pub(super) fn cached(
        namespace: &JsValue,
        keys: &str,
        cache_ttl: u32,
        milliseconds: u32,
        settle: &Function,
        number: u32,
    );

    /// Settles with true when the e-mail is taken, or with undefined where it takes too long.
    #[wasm_bindgen(js_name = sendEmail)]
    pub(super) fn send_email(binding: &JsValue, email: &str, milliseconds: u32, settle: &Function, number: u32);

    /// The code of an error, such as `E_SENDER_NOT_VERIFIED`. Empty: it has none.
    #[wasm_bindgen(js_name = errorCode)]
    pub(super) fn error_code(error: &JsValue) -> String;

    /// Settles with true when the queue has them, or with undefined where it takes too long.
    pub(super) fn send(queue: &JsValue, bodies: &str, milliseconds: u32, settle: &Function, number: u32);

    /// Settles with a text, or with undefined where it takes too long.
    pub(super) fn batch(
        database: &JsValue,
        statements: &Array,
        values: &str,
        milliseconds: u32,
        settle: &Function,
        number: u32,
    );
}

thread_local! {
    /// Constant texts as the platform has them, by where they stand in memory: a statement is not translated at each call.
    static TEXTS: RefCell<HashMap<(usize, usize), JsString>> = RefCell::default();
}

/// A constant text as the platform has it.
pub(super) fn constant(text: &'static str) -> JsString {
    let place = (text.as_ptr().addr(), text.len());
    TEXTS.with_borrow_mut(|texts| texts.entry(place).or_insert_with(|| JsString::from(text)).clone())
}

/// The text of a statement as the platform has it.
pub(super) fn sql(text: &SqlText) -> JsString {
    text.as_constant().map_or_else(|| JsString::from(&**text), constant)
}

/// What an error of the platform says: its cause, where it has one.
pub(super) fn message(error: &JsValue) -> String {
    let Some(error) = error.dyn_ref::<Error>() else { return "unknown error".to_owned() };
    match error.cause().dyn_ref::<Error>() {
        Some(cause) => cause.message().into(),
        None => error.message().into(),
    }
}
