//! Leaving a mailing list by its link, without logging in: who has the link may (RFC 8058). A form that says so, from a mail
//! program or from the button here, removes at once; to look at the page changes nothing, since scanners of mail do that.

use super::frame;
use super::site::{Desk, Form};
use super::upload::{self, Reader, Take};
use crate::delivery::ListError;
use crate::httpd::{Method, Request, Response, Status};
use crate::lists::leave::CLICK;
use maud::{Markup, html};

/// One short field.
const MOST_FORM: u64 = 16 << 10;

pub(super) fn answer(desk: &Desk<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let told = |name: &str| request.head.parameter(name).unwrap_or_default();
    let post = &desk.server.post;
    let leaving = post.leaving(&told("list"), &told("member"), &told("token")).map_err(|error| later(&error))?;
    let leaving = leaving.ok_or(Status::NOT_FOUND)?;
    let list = leaving.list.address();
    let is_post = request.head.method == Method::Post;
    let Some(member) = leaving.member else {
        let by_mail = leaving.list.other("unsubscribe");
        return match is_post {
            true => Err(Status::FORBIDDEN),
            false => Ok(page(&html! {
                p { "This link is no member's own, or not a whole one. Who wants to leave the mailing list " strong { (list) } " writes to" }
                p { a href={ "mailto:" (by_mail) } { (by_mail) } }
            })),
        };
    };
    if !is_post {
        return Ok(page(&html! {
            p { strong { (member) } " is to get no more mail of the mailing list " strong { (list) } "?" }
            input type="hidden" name=(CLICK.0) value=(CLICK.1);
            button.first type="submit" { "Leave the list" }
        }));
    }
    let form = form(request)?;
    if form.get(CLICK.0) != Some(CLICK.1) {
        return Err(Status::UNPROCESSABLE_CONTENT);
    }
    post.leave(&leaving.list, &member).map_err(|error| match error {
        ListError::Unknown => Status::NOT_FOUND,
        error => later(&error),
    })?;
    // No redirection (RFC 8058 §3.1).
    Ok(page(&html! { p role="status" { strong { (member) } " gets no more mail of the mailing list " strong { (list) } "." } }))
}

/// The form leads back to the link by which the page was found.
fn page(inside: &Markup) -> Response {
    frame::bare(
        Status::OK,
        "Leave a mailing list",
        &html! { main.login { form method="post" { h1 { "Mailing list" } (inside) } } },
    )
    .with("Cache-Control", "no-store")
}

/// In one of the two forms that it may have (RFC 8058 §3.2).
fn form(request: &mut Request<'_>) -> Result<Form, Status> {
    let Some(boundary) = upload::boundary(request.head.field("content-type").unwrap_or_default()) else {
        return request.form(MOST_FORM).map(Form);
    };
    let mut form = Form::default();
    let mut reader = Reader::new(&boundary, &mut form);
    request.read_body(MOST_FORM, |block| reader.push(block))?;
    reader.finish()?;
    Ok(form)
}

/// Without files.
impl Take for Form {
    fn field(&mut self, name: String, value: String) -> Result<(), Status> {
        self.0.push((name, value));
        Ok(())
    }

    fn file(&mut self, _: &str, _: &str) -> Result<(), Status> {
        Err(Status::UNPROCESSABLE_CONTENT)
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Status> {
        Ok(())
    }
}

fn later(error: &dyn ToString) -> Status {
    log::warn!("webmail list error={:?}", error.to_string());
    Status::SERVICE_UNAVAILABLE
}
