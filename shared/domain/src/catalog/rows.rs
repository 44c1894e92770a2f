//! The rows. An issue is a todo in GraphQL, and a workspace a project.
//!
//! The details name the subject of an action, unless it is an issue: its id is under its noun, `comment` or `file`.
//! The detail `user` names the affected user; the event's own member `affected` can add their name.
//!
//! An event that lacks what is required is refused: to require more of an action in use breaks those who record it.

use super::detail::{optional, required};
use super::{Detail, Entry, Kind, PRIVACY, ROLES};
use crate::activity::Audience::{Everyone, Staff};
use Kind::{Any, Bool, Count, Id, Number, OneOf, Prose, Text};

/// A row that everyone may see and that requires nothing.
const fn row(
    action: &'static str,
    category: &'static str,
    description: &'static str,
    sentence: &'static str,
) -> Entry {
    Entry {
        action,
        category,
        audience: Everyone,
        description,
        sentence,
        on_issue: false,
        some_detail: false,
        details: &[],
    }
}

const fn on_issue(
    action: &'static str,
    category: &'static str,
    description: &'static str,
    sentence: &'static str,
) -> Entry {
    Entry { on_issue: true, ..row(action, category, description, sentence) }
}

const fn staff(
    action: &'static str,
    category: &'static str,
    description: &'static str,
    sentence: &'static str,
) -> Entry {
    Entry { audience: Staff, ..row(action, category, description, sentence) }
}

impl Entry {
    const fn with(self, details: &'static [Detail]) -> Self {
        Self { details, ..self }
    }

    const fn with_some(self, details: &'static [Detail]) -> Self {
        Self { some_detail: true, details, ..self }
    }
}

/// The title of an issue at the time.
const TITLE: Detail = optional("title", Text);
/// How long a run took, or a call.
const SECONDS: Detail = optional("seconds", Number);

pub(super) static CATALOG: &[Entry] = &[
    // Issues. The lists named are those an issue is in once it has happened.
    on_issue(
        "issue.created",
        "CREATE_TODO",
        "An issue was created.",
        "{actor} created the todo {title}[ in the list {list_title}]",
    )
    .with(&[
        required("title", Text),
        required("identifier", Text),
        optional("list", Id),
        optional("list_title", Text),
    ]),
    on_issue(
        "issue.updated",
        "UPDATE_TODO",
        "An issue was changed; the details are the changed fields and their new values.",
        "{actor} updated a todo: {*}",
    )
    .with_some(&[]),
    on_issue(
        "issue.completed",
        "MARK_TODO_AS_COMPLETE",
        "An issue was marked as complete.",
        "{actor} marked the todo[ {title}] as complete",
    )
    .with(&[TITLE]),
    on_issue(
        "issue.reopened",
        "MARK_TODO_AS_INCOMPLETE",
        "A completed issue was opened again.",
        "{actor} marked the todo[ {title}] as incomplete",
    )
    .with(&[TITLE]),
    on_issue(
        "issue.assigned",
        "ASSIGN_TODO",
        "An issue was assigned to a user or an agent.",
        "{actor} assigned the todo[ {title}] to {user}",
    )
    .with(&[required("user", Id), TITLE]),
    on_issue(
        "issue.unassigned",
        "UNASSIGN_TODO",
        "An issue was taken from a user or an agent.",
        "{actor} unassigned {user} from the todo[ {title}]",
    )
    .with(&[required("user", Id), TITLE]),
    on_issue(
        "issue.moved",
        "MOVE_TODO",
        "An issue was moved from one list to another.",
        "{actor} moved the todo[ {title}][ from {from_list_title}] to {to_list_title|another list}",
    )
    .with(&[
        required("to_list", Id),
        optional("to_list_title", Text),
        optional("from_list", Id),
        optional("from_list_title", Text),
        TITLE,
    ]),
    on_issue(
        "issue.copied",
        "COPY_TODO",
        "An issue was copied; the issue_id is the original's, the copy is named in the details.",
        "{actor} copied the todo[ {title}][ to the list {list_title}]",
    )
    .with(&[required("copy", Id), optional("list", Id), optional("list_title", Text), TITLE]),
    on_issue(
        "issue.archived",
        "ARCHIVE_TODO",
        "An issue was archived.",
        "{actor} archived the todo[ {title}]",
    )
    .with(&[TITLE]),
    on_issue(
        "issue.unarchived",
        "UNARCHIVE_TODO",
        "An issue was taken out of the archive.",
        "{actor} took the todo[ {title}] out of the archive",
    )
    .with(&[TITLE]),
    on_issue("issue.deleted", "DELETE_TODO", "An issue was deleted.", "{actor} deleted the todo[ {title}]")
        .with(&[TITLE]),
    row(
        "issue_list.created",
        "CREATE_TODO_LIST",
        "A list of issues was created.",
        "{actor} created the list {title}",
    )
    .with(&[required("list", Id), required("title", Text)]),
    row(
        "issue_list.renamed",
        "RENAME_TODO_LIST",
        "A list of issues has a new title.",
        "{actor} renamed a list[ from {old_title}] to {title}",
    )
    .with(&[required("list", Id), required("title", Text), optional("old_title", Text)]),
    row(
        "issue_list.deleted",
        "DELETE_TODO_LIST",
        "A list of issues was deleted.",
        "{actor} deleted a list[: {title}]",
    )
    .with(&[required("list", Id), TITLE]),
    // Conversation. A comment may be on an issue, a discussion or a status update.
    row(
        "comment.created",
        "CREATE_COMMENT",
        "A comment was added.",
        "{actor} commented[ on {issue_title}]: {text}",
    )
    .with(&[
        required("text", Prose),
        optional("comment", Id),
        optional("discussion", Id),
        optional("status_update", Id),
        optional("issue_title", Text),
    ]),
    row(
        "comment.updated",
        "UPDATE_COMMENT",
        "A comment has a new text.",
        "{actor} changed a comment[ on {issue_title}]: {text}",
    )
    .with(&[required("comment", Id), required("text", Prose), optional("issue_title", Text)]),
    row(
        "comment.deleted",
        "DELETE_COMMENT",
        "A comment was deleted.",
        "{actor} deleted a comment[ on {issue_title}]",
    )
    .with(&[required("comment", Id), optional("issue_title", Text)]),
    row(
        "discussion.created",
        "CREATE_DISCUSSION",
        "A discussion was started.",
        "{actor} started the discussion {title}",
    )
    .with(&[required("discussion", Id), required("title", Text), optional("text", Prose)]),
    row(
        "discussion.updated",
        "UPDATE_DISCUSSION",
        "A discussion has a new title or text.",
        "{actor} updated a discussion[: {title}]",
    )
    .with(&[required("discussion", Id), optional("title", Text), optional("text", Prose)]),
    row(
        "discussion.deleted",
        "DELETE_DISCUSSION",
        "A discussion was deleted.",
        "{actor} deleted a discussion[: {title}]",
    )
    .with(&[required("discussion", Id), optional("title", Text)]),
    row(
        "status_update.created",
        "CREATE_STATUS_UPDATE",
        "A status update was posted.",
        "{actor} posted a status update: {text}",
    )
    .with(&[required("status_update", Id), required("text", Prose)]),
    row(
        "status_update.updated",
        "UPDATE_STATUS_UPDATE",
        "A status update has a new text.",
        "{actor} changed a status update: {text}",
    )
    .with(&[required("status_update", Id), required("text", Prose)]),
    row(
        "status_update.deleted",
        "DELETE_STATUS_UPDATE",
        "A status update was deleted.",
        "{actor} deleted a status update",
    )
    .with(&[required("status_update", Id)]),
    // Workspaces and members. `directory::changes` decides what changes the directory.
    row(
        "workspace.created",
        "CREATE_PROJECT",
        "A workspace was created.",
        "{actor} created the workspace {name}",
    )
    .with(&[
        required("name", Text),
        optional("slug", Id),
        optional("organization", Id),
        optional("organization_name", Text),
        optional("organization_slug", Id),
    ]),
    staff(
        "workspace.settings_updated",
        "UPDATE_PROJECT_SETTINGS",
        "Settings of the workspace were changed; the details are their new values.",
        "{actor} changed the settings of the workspace: {*}",
    )
    .with_some(&[optional("activity_enabled", Bool), optional("privacy", OneOf(PRIVACY))]),
    row(
        "workspace.archived",
        "ARCHIVE_PROJECT",
        "The workspace was archived.",
        "{actor} archived the workspace",
    ),
    row(
        "workspace.unarchived",
        "UNARCHIVE_PROJECT",
        "The workspace was taken out of the archive.",
        "{actor} took the workspace out of the archive",
    ),
    staff(
        "member.added",
        "ADD_USER_TO_PROJECT",
        "A user was added to the workspace.",
        "{actor} added {user} to the workspace as {role}",
    )
    .with(&[required("user", Id), required("role", OneOf(ROLES))]),
    staff(
        "member.role_changed",
        "CHANGE_USER_ROLE",
        "A member of the workspace has a new role.",
        "{actor} changed the role of {user} to {role}",
    )
    .with(&[required("user", Id), required("role", OneOf(ROLES))]),
    staff(
        "member.removed",
        "REMOVE_USER_FROM_PROJECT",
        "A user was removed from the workspace.",
        "{actor} removed {user} from the workspace",
    )
    .with(&[required("user", Id)]),
    // Invitations and custom fields were recorded before anything was asked of them, and may go on without details.
    staff(
        "invitation.created",
        "CREATE_INVITATION",
        "A user was invited to the workspace.",
        "{actor} invited {email|a user} to the workspace[ as {role}]",
    )
    .with(&[optional("invitation", Id), optional("email", Text), optional("role", OneOf(ROLES))]),
    staff(
        "invitation.accepted",
        "ACCEPT_INVITATION",
        "An invitation was accepted.",
        "{actor} accepted an invitation to the workspace",
    )
    .with(&[optional("invitation", Id)]),
    staff(
        "invitation.declined",
        "DECLINE_INVITATION",
        "An invitation was declined.",
        "{actor} declined an invitation to the workspace",
    )
    .with(&[required("invitation", Id)]),
    staff(
        "invitation.revoked",
        "REVOKE_INVITATION",
        "An invitation was withdrawn.",
        "{actor} withdrew an invitation[ of {email}]",
    )
    .with(&[required("invitation", Id), optional("email", Text)]),
    // Parts of a workspace.
    staff(
        "custom_field.created",
        "CREATE_CUSTOM_FIELD",
        "A custom field was created.",
        "{actor} created a custom field[: {name}]",
    )
    .with(&[optional("custom_field", Id), optional("name", Text), optional("type", Text)]),
    staff(
        "custom_field.updated",
        "UPDATE_CUSTOM_FIELD",
        "A custom field was changed.",
        "{actor} changed a custom field[: {name}]",
    )
    .with(&[required("custom_field", Id), optional("name", Text)]),
    staff(
        "custom_field.deleted",
        "DELETE_CUSTOM_FIELD",
        "A custom field was deleted.",
        "{actor} deleted a custom field[: {name}]",
    )
    .with(&[required("custom_field", Id), optional("name", Text)]),
    row(
        "form.received",
        "RECEIVE_FORM",
        "A form submission was received; the issue_id is that of the issue made of it, if any.",
        "{actor} submitted a form[: {title}]",
    )
    .with(&[required("form", Id), optional("title", Text), optional("submission", Id)]),
    // Files; sizes are in bytes.
    row("file.uploaded", "UPLOAD_FILE", "A file was uploaded.", "{actor} uploaded the file {name}").with(&[
        required("name", Text),
        optional("file", Id),
        optional("size", Count),
        optional("media_type", Text),
    ]),
    row("file.modified", "MODIFY_FILE", "A file has a new content.", "{actor} changed the file {name}")
        .with(&[required("name", Text), optional("file", Id), optional("size", Count)]),
    row(
        "file.renamed",
        "RENAME_FILE",
        "A file has a new name.",
        "{actor} renamed the file {old_name} to {name}",
    )
    .with(&[required("name", Text), required("old_name", Text), optional("file", Id)]),
    row("file.deleted", "DELETE_FILE", "A file was deleted.", "{actor} deleted the file {name}")
        .with(&[required("name", Text), optional("file", Id)]),
    // Agents' executions and their results.
    row(
        "agent.run_started",
        "START_AGENT_RUN",
        "An agent began to work on something.",
        "{actor} began to work[ on: {task}]",
    )
    .with(&[required("run", Id), optional("task", Prose)]),
    row(
        "agent.tool_called",
        "CALL_AGENT_TOOL",
        "An agent called a tool in the course of a run.",
        "{actor} called the tool {tool}",
    )
    .with(&[
        required("run", Id),
        required("tool", Text),
        optional("arguments", Any),
        optional("result", Any),
        SECONDS,
    ]),
    row(
        "agent.run_finished",
        "FINISH_AGENT_RUN",
        "An agent's run came to a result.",
        "{actor} finished: {result|no result}",
    )
    .with(&[required("run", Id), required("result", Any), SECONDS]),
    row(
        "agent.run_failed",
        "FAIL_AGENT_RUN",
        "An agent's run ended without a result.",
        "{actor} failed: {error}",
    )
    .with(&[required("run", Id), required("error", Prose), SECONDS]),
    row(
        "agent.run_cancelled",
        "CANCEL_AGENT_RUN",
        "An agent's run was stopped.",
        "{actor} stopped the run of an agent[: {reason}]",
    )
    .with(&[required("run", Id), optional("reason", Prose), SECONDS]),
    // Configuration: settings of the platform around the workspace, whatever they are.
    staff(
        "configuration.changed",
        "CHANGE_CONFIGURATION",
        "A setting was changed; null stands for no value. Send no secrets.",
        "{actor} changed the setting {key}[ from {old}] to {new|no value}",
    )
    .with(&[required("key", Text), required("new", Any), optional("old", Any)]),
    staff(
        "integration.connected",
        "CONNECT_INTEGRATION",
        "Another service was connected to the workspace.",
        "{actor} connected {name} to the workspace",
    )
    .with(&[required("name", Text), optional("integration", Id)]),
    staff(
        "integration.disconnected",
        "DISCONNECT_INTEGRATION",
        "Another service was disconnected from the workspace.",
        "{actor} disconnected {name} from the workspace",
    )
    .with(&[required("name", Text), optional("integration", Id)]),
];
