//! `pillarboxctl list`.

use super::call;
use super::show::{clean, counted, names};
use super::{Failure, print_json, say};
use serde_json::Value;
use std::fmt::Write;
use std::io::{self, Read};
use std::path::Path;

/// One of its commands. None: there is no such one.
pub fn run(control: &Path, words: &[&str], json: bool) -> Option<Result<(), Failure>> {
    let ask = |request: &str| call::ask(control, &format!("list {request}"));
    let show = |request: &str, plain: fn(&Value) -> Result<(), Failure>| {
        ask(request).and_then(|answer| if json { print_json(&answer) } else { plain(&answer) })
    };
    Some(match words {
        ["list"] => show("list", names),
        ["show", name] => show(&format!("show {name}"), settings),
        ["members", name] => show(&format!("members {name}"), names),
        ["held", name] => show(&format!("held {name}"), held),
        ["create", name, owner] => {
            let made = ask(&format!("create {name} {owner}"));
            made.and_then(|made| say(&format!("{} is there now\n", clean(made["address"].as_str().unwrap_or_default()))))
        }
        [act @ ("add" | "remove"), name, members @ ..] if !members.is_empty() => change(&ask, act, name, members),
        [act @ ("approve" | "reject" | "discard"), name, id] => ask(&format!("{act} {name} {id}")).map(drop),
        ["delete", name] => ask(&format!("delete {name}")).and_then(|answer| match number(&answer["removed"]) {
            0 => Ok(()),
            count => say(&format!("{} that waited for a moderator removed\n", counted(count, "post"))),
        }),
        _ => return None,
    })
}

/// Adds or removes members; `-` stands for those that standard input names, one in each line.
fn change(ask: &dyn Fn(&str) -> Result<Value, Failure>, act: &str, name: &str, members: &[&str]) -> Result<(), Failure> {
    let mut input = String::new();
    if members == ["-"] {
        io::stdin().read_to_string(&mut input)?;
    }
    let lines = input.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let members: Vec<&str> = if members == ["-"] { lines.collect() } else { members.to_vec() };
    let mut count = 0;
    for member in members {
        let asked = ask(&format!("{act} {name} {member}"));
        let answer = asked.map_err(|failure| Failure::new(failure.code, format!("{member}: {}", failure.what)))?;
        count += u64::from(answer["changed"] == true);
    }
    say(&format!("{} {}\n", counted(count, "member"), if act == "add" { "added" } else { "removed" }))
}

fn settings(list: &Value) -> Result<(), Failure> {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {}, {} held",
        text(&list["address"]),
        counted(number(&list["members"]), "member"),
        counted(number(&list["held"]), "post")
    );
    for line in list["settings"].as_str().unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
        let _ = writeln!(out, "    {}", clean(line));
    }
    for wrong in list["wrong"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "members, {}", text(wrong));
    }
    for row in list["bounces"].as_array().into_iter().flatten() {
        let state = if row["paused"] == true { ", paused" } else { "" };
        let _ = writeln!(out, "mail for {} came back on {}{state}", text(&row["member"]), counted(number(&row["days"]), "day"));
    }
    say(&out)
}

fn held(posts: &Value) -> Result<(), Failure> {
    let mut out = String::new();
    for post in posts.as_array().into_iter().flatten() {
        let _ = writeln!(out, "{}  {}  {}", text(&post["id"]), text(&post["author"]), text(&post["subject"]));
    }
    say(&out)
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// May that answer in JSON?
pub fn answers(words: &[&str]) -> bool {
    matches!(words, ["list" | "show" | "members" | "held", ..])
}
