//! What a form says of a refusal, in sentences for people.
//!
//! Owns what of a refusal a person can correct, at which field it is said, and which sentence replaces a
//! problem that is worded for programs.

use super::page::{self, FormErrors, Texts};
use super::problem;
use crate::egress::{EgressPolicy, EgressUrl, EgressUrlError};
use crate::error::{Error, ErrorCode, Result, is_fragment};

/// A field of a form, and what is said where it was refused. Without words: what was found.
pub(super) type FieldWords<'a> = (&'a str, &'a str);

/// What a person can correct, as it is shown at the fields: the status, and what was refused. Everything else is a page of
/// its own. A field of the API such as `user.id` is `user_id` in a form.
pub(super) fn correctable(text: &Texts, error: Error, fields: &[FieldWords<'_>]) -> Result<(u16, FormErrors)> {
    let is_correctable = matches!(
        error.code,
        ErrorCode::InvalidRequest
            | ErrorCode::Conflict
            | ErrorCode::AlreadyExists
            | ErrorCode::LimitReached
            | ErrorCode::ClientInUse
            | ErrorCode::ClientMissing
            | ErrorCode::PreconditionFailed
            | ErrorCode::AppUnavailable
            | ErrorCode::AddressesChanged
            | ErrorCode::ConnectionNotFound
    );
    if !is_correctable {
        return Err(error);
    }
    let status = problem::status_and_title(error.code).0;
    let mut errors = FormErrors::default();
    for one in &error.hints.errors {
        let name = one.field.split('[').next().unwrap_or_default().replace('.', "_");
        match fields.iter().find(|(field, _)| *field == name) {
            Some((_, words)) => {
                errors.fields.insert(name, words_of_problem(text, &one.problem, words));
            }
            // The form has no such field: a page that fits the form sends none that is refused here.
            None => errors.summary = Some(words_of_problem(text, &one.problem, text.settings.look_again)),
        }
    }
    if errors.is_empty() {
        let words = match error.code {
            ErrorCode::PreconditionFailed => text.settings.out_of_date.to_owned(),
            _ => error.hints.for_people.clone().unwrap_or(error.detail),
        };
        errors.summary = Some(words);
    }
    Ok((status, errors))
}

/// What is said of a refused field. A problem of the API follows the name of its field, such as "must have 1 to 100
/// characters": then the form's words are said, or a sentence is made of it.
pub(super) fn words_of_problem(text: &Texts, problem: &str, words: &str) -> String {
    match (is_fragment(problem), words) {
        (false, _) => problem.to_owned(),
        (true, "") => page::fill_plain(text.form.it, &[("problem", problem)]),
        (true, words) => words.to_owned(),
    }
}

/// Says what is wrong with an address that was refused, if that can be seen from the address.
pub(super) fn explain_address(text: &Texts, egress: EgressPolicy, errors: &mut FormErrors, name: &str, entered: &str) {
    let Some(said) = errors.fields.get_mut(name) else { return };
    let text = &text.settings;
    let words = match EgressUrl::parse(entered, egress) {
        Ok(_) => return,
        Err(EgressUrlError::Malformed) => text.wrong_address,
        Err(EgressUrlError::TooLong) => text.wrong_address_length,
        Err(EgressUrlError::Characters) => text.wrong_address_characters,
        Err(EgressUrlError::NotHttps) => text.wrong_address_scheme,
        Err(EgressUrlError::UserInfo) => text.wrong_address_user,
        Err(EgressUrlError::Fragment) => text.wrong_address_fragment,
        Err(EgressUrlError::IpLiteral) => text.wrong_address_number,
        Err(EgressUrlError::NotADnsName) => text.wrong_address_host,
        Err(EgressUrlError::PrivateName) => text.wrong_address_private,
    };
    words.clone_into(said);
}
