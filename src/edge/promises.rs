//! Waits for what `glue.js` begins, without a closure for each wait: one function of ours is told how each of them ended.
//!
//! Two closures and a promise for each wait are objects that the platform has to make, to register for finalisation, and to
//! collect.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use worker::js_sys::Function;
use worker::wasm_bindgen::closure::Closure;
use worker::wasm_bindgen::{JsCast as _, JsValue};

/// How it ended: a value, or what was thrown.
type Outcome = Result<JsValue, JsValue>;

enum Wait {
    Begun(Option<Waker>),
    Ended(Outcome),
}

thread_local! {
    static WAITS: RefCell<HashMap<u32, Wait>> = RefCell::default();
    static LAST: Cell<u32> = const { Cell::new(0) };
    static SETTLE: Function = Closure::<dyn Fn(u32, bool, JsValue)>::new(settle).into_js_value().unchecked_into();
}

/// Waits until `begin` has settled, which is given the function that it has to call and the number to call it with.
pub(super) fn wait(begin: impl FnOnce(&Function, u32)) -> Settled {
    let number = LAST.get().wrapping_add(1);
    LAST.set(number);
    WAITS.with_borrow_mut(|waits| waits.insert(number, Wait::Begun(None)));
    let settled = Settled(number);
    SETTLE.with(|settle| begin(settle, number));
    settled
}

/// Nobody waits for a number that is not in the map any more.
fn settle(number: u32, is_value: bool, value: JsValue) {
    let outcome = if is_value { Ok(value) } else { Err(value) };
    let waker = WAITS.with_borrow_mut(|waits| match waits.get_mut(&number)? {
        Wait::Begun(waker) => {
            let waker = waker.take();
            waits.insert(number, Wait::Ended(outcome));
            waker
        }
        Wait::Ended(_) => None,
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What was begun, and how it ends.
pub(super) struct Settled(u32);

impl Future for Settled {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        WAITS.with_borrow_mut(|waits| match waits.remove(&self.0) {
            Some(Wait::Ended(outcome)) => Poll::Ready(outcome),
            Some(Wait::Begun(_)) => {
                waits.insert(self.0, Wait::Begun(Some(context.waker().clone())));
                Poll::Pending
            }
            None => Poll::Ready(Err(JsValue::UNDEFINED)),
        })
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        WAITS.with_borrow_mut(|waits| waits.remove(&self.0));
    }
}
