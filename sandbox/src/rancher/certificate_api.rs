//! What the API does with certificates.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::rancher::answer::Collection;
use crate::rancher::answer::Problem;
use crate::rancher::answer::Row;
use crate::rancher::api::Call;
use crate::rancher::api::Done;
use crate::rancher::certificate::Certificate;
use crate::rancher::certificate::Fields;
use crate::rancher::certificate::State;
use crate::rancher::derived::Derived;
use crate::rancher::model::Model;
use crate::rancher::service::Service;
use crate::rancher::settings::Conflict;
use crate::rancher::settings::Database;

/// The fields that a list can be filtered by.
const COLUMNS: &[&str] = &[
    "accountId",
    "cert",
    "certChain",
    "created",
    "description",
    "id",
    "key",
    "kind",
    "name",
    "removeTime",
    "removed",
    "state",
    "uuid",
];

/// Does what was asked.
pub(crate) fn act(model: &mut Model, call: &Call<'_>) -> Result<Done, Problem> {
    let action = call.place.parameter("action");
    match (call.method.as_str(), call.place.id.as_deref(), action) {
        ("GET", None, _) => Ok((StatusCode::OK, list(model, call))),
        ("GET", Some(id), _) => get(model, call, id),
        ("POST", None, _) => create(model, call),
        ("PUT", Some(id), _) => put(model, call, id),
        ("DELETE", Some(id), _) => delete(model, call, id, StatusCode::OK),
        ("POST", Some(id), Some("update")) => reveal(model, call, id),
        ("POST", Some(id), Some("remove")) => {
            find(model, id)?;
            delete(model, call, id, StatusCode::ACCEPTED)
        }
        ("POST", Some(id), Some(_)) => {
            find(model, id)?;
            Err(Problem::field("InvalidAction", "action"))
        }
        _ => Err(Problem::plain(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn list(model: &mut Model, call: &Call<'_>) -> Value {
    let activation = model.settings.activation;
    let view = call.view();
    let name = call.place.parameter("name");
    // By a name the database finds its rows without a look at the others.
    let numbers: Vec<u64> = match name {
        Some(name) => model.called(name).map(Certificate::number).collect(),
        None => model.records.certificates.keys().copied().collect(),
    };
    let all = &mut model.records.certificates;
    for number in &numbers {
        if let Some(row) = all.get_mut(number) {
            row.read(activation);
        }
    }
    let listed = numbers.iter().filter_map(|number| all.get(number));
    let rows = listed
        .filter(|row| !row.is_removed())
        .map(|row| Box::new(|| row.json(&view)) as Row<'_>)
        .collect();
    let list = Collection {
        place: call.place,
        resource_type: "certificate",
        columns: COLUMNS,
        create_types: json!({}),
        rows,
        max_page: model.settings.max_page,
        folds_case: model.settings.database == Database::MySql,
    };
    list.json()
}

fn get(model: &mut Model, call: &Call<'_>, id: &str) -> Result<Done, Problem> {
    let activation = model.settings.activation;
    let row = find(model, id)?;
    row.read(activation);
    Ok((StatusCode::OK, row.json(&call.view())))
}

fn create(model: &mut Model, call: &Call<'_>) -> Result<Done, Problem> {
    if call.asker.is_outside(call.place) {
        return Err(Problem::plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    let fields = fields(call)?;
    for (given, name) in [
        (fields.cert.is_some(), "cert"),
        (fields.key.is_some(), "key"),
        (fields.name.is_some(), "name"),
    ] {
        if !given {
            return Err(Problem::field("MissingRequired", name));
        }
    }
    check_name(model, &fields, None)?;
    let derived = derive(&fields)?;
    let row = model.add_row(|number| Certificate::new(number, fields, derived));
    Ok((StatusCode::CREATED, row.json(&call.view())))
}

/// Changes what is given. A new `cert`, or any `key`, starts the process `certificate.update`.
fn put(model: &mut Model, call: &Call<'_>, id: &str) -> Result<Done, Problem> {
    find(model, id)?;
    let fields = fields(call)?;
    check_name(model, &fields, Some(id))?;
    let derived = derive(&fields)?;
    let activation = model.settings.activation;
    let conflict = Problem::plain(StatusCode::CONFLICT);
    let row = find(model, id)?;
    row.catch_up(activation);
    // The key of the row reads as null, so that every key that is sent is a change.
    let updates = fields.key.is_some() || fields.cert.as_ref() != Some(&row.held.cert);
    let state = row.state;
    match state {
        State::Removing | State::Removed => return Err(conflict),
        State::Activating if updates && meets_conflict(model) => return Err(conflict),
        State::Activating | State::Active | State::Updating => {}
    }
    let row = model.edit(id, |row| {
        row.take(fields, Some(derived));
        row.held.puts += 1;
        if updates {
            row.enter(State::Updating);
        }
    });
    let row = row.ok_or_else(not_found)?;
    Ok((StatusCode::OK, row.json(&call.view())))
}

fn meets_conflict(model: &mut Model) -> bool {
    let met = model.met_activating;
    model.met_activating += 1;
    match model.settings.conflict {
        Conflict::Always => true,
        Conflict::Sometimes => met.is_multiple_of(3),
        Conflict::Never => false,
    }
}

fn delete(
    model: &mut Model,
    call: &Call<'_>,
    id: &str,
    status: StatusCode,
) -> Result<Done, Problem> {
    let balancers: Vec<String> = model
        .records
        .services
        .values()
        .filter(|service| serves_by_default(service, id))
        .map(|service| service.name.clone())
        .collect();
    let activation = model.settings.activation;
    let row = find(model, id).map_err(|problem| match is_id(id) {
        // Cattle asks the missing certificate for its balancers.
        true => Problem::plain(StatusCode::INTERNAL_SERVER_ERROR),
        false => problem,
    })?;
    if !balancers.is_empty() {
        let names = balancers.join(",");
        let message = format!("Certificate is in use by load balancer services: {names}");
        return Err(Problem::in_use(message));
    }
    row.catch_up(activation);
    match row.state {
        State::Updating => return Err(Problem::plain(StatusCode::METHOD_NOT_ALLOWED)),
        State::Activating | State::Active => row.enter(State::Removing),
        State::Removing | State::Removed => {}
    }
    Ok((status, row.json(&call.view())))
}

fn serves_by_default(service: &Service, id: &str) -> bool {
    let lb = service.lb.as_ref().filter(|_| service.state != "removed");
    lb.is_some_and(|lb| lb.default_certificate.as_deref() == Some(id))
}

/// The action `update`, which changes nothing and answers as every POST does: with the key.
fn reveal(model: &mut Model, call: &Call<'_>, id: &str) -> Result<Done, Problem> {
    let activation = model.settings.activation;
    let reveals_key = model.settings.reveals_key;
    let row = find(model, id)?;
    row.catch_up(activation);
    if !row.allows("update") {
        return Err(Problem::field("ActionNotAvailable", "action"));
    }
    row.enter(State::Updating);
    let mut view = call.view();
    view.shows_key &= reveals_key;
    Ok((StatusCode::ACCEPTED, row.json(&view)))
}

fn find<'a>(model: &'a mut Model, id: &str) -> Result<&'a mut Certificate, Problem> {
    model.row(id).ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::plain(StatusCode::NOT_FOUND)
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("1c").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// The body, checked field by field in the order of their names.
fn fields(call: &Call<'_>) -> Result<Fields, Problem> {
    let text = |name: &'static str, longest: usize| -> Result<Option<Option<String>>, Problem> {
        let text = match call.body.get(name) {
            None => return Ok(None),
            Some(Value::Null) => return Ok(Some(None)),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        // Java counts a string in UTF-16.
        if text.encode_utf16().count() > longest {
            return Err(Problem::field("MaxLengthExceeded", name));
        }
        Ok(Some(Some(text)))
    };
    let not_null = |name: &'static str| match text(name, 65_535)? {
        Some(None) => Err(Problem::field("NotNullable", name)),
        Some(text) => Ok(text),
        None => Ok(None),
    };
    Ok(Fields {
        cert: not_null("cert")?,
        chain: text("certChain", 65_535)?,
        description: text("description", 1024)?,
        key: not_null("key")?,
        name: text("name", 255)?,
    })
}

/// Names are unique in a project, among what is not removed; null is no name.
fn check_name(model: &Model, fields: &Fields, own: Option<&str>) -> Result<(), Problem> {
    let Some(Some(name)) = &fields.name else {
        return Ok(());
    };
    let folds_case = model.settings.database == Database::MySql;
    let is_taken =
        model.called(name).filter(|row| !row.is_removed()).any(|Certificate { held, .. }| {
            let same = held.name.as_ref().is_some_and(|other| match folds_case {
                true => other.to_lowercase() == name.to_lowercase(),
                false => other == name,
            });
            same && Some(held.id.as_str()) != own
        });
    match is_taken {
        true => Err(Problem::field("NotUnique", "name")),
        false => Ok(()),
    }
}

/// Cattle derives its fields from the body alone, so that there is no change without `cert`.
fn derive(fields: &Fields) -> Result<Derived, Problem> {
    fields.cert.as_deref().and_then(Derived::from_pem).ok_or_else(Problem::format)
}
