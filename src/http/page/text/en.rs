//! English.

super::texts! {
    /// What every page has.
    frame {
        product = "Connections";
        title = "{title} – Connections";
        skip = "Skip to the content";
        main_navigation = "Main";
        nav_connections = "Connections";
        nav_connect = "Connect an app";
        nav_review = "Review";
        nav_workflows = "Workflows";
        nav_activity = "Activity";
        nav_settings = "Settings";
        signed_in_as = "Signed in as {name}";
        admin = "Admin";
        sign_out = "Sign out";
        account_menu = "Your session: {name}";
        account_unknown = "Account unknown";
        never = "Never";
        opens_in_new_tab = "(opens in a new tab)";
        good_to_know = "Good to know";
        copy = "Copy";
        copied = "Copied";
        just_now = "just now";
        minutes_ago = "{count} minutes ago";
        minute_ago = "1 minute ago";
        hours_ago = "{count} hours ago";
        hour_ago = "1 hour ago";
        days_ago = "{count} days ago";
        day_ago = "yesterday";
        in_minutes = "in {count} minutes";
        in_minute = "in 1 minute";
        in_hours = "in {count} hours";
        in_hour = "in 1 hour";
        in_days = "in {count} days";
        in_day = "tomorrow";
        next_page = "Next page";
        first_page = "First page";
        logo_of = "Logo of {name}";
        for_workspace = "For the workspace {workspace} at {installation}";
    }
    /// What has just happened.
    notice {
        connected = "Connected as {account}.";
        connected_unknown = "Connected.";
        disconnected = "Disconnected. The app confirmed that the access is revoked.";
        disconnected_unsupported = "Disconnected and erased here. This app has no way to revoke access. To be sure, remove it in the app's own settings.";
        disconnected_shared = "Disconnected and erased here. The access was kept at the app, because another connection uses it.";
        disconnected_retrying = "Disconnected and erased here. The app has not confirmed the revocation yet. We try again for a day.";
        disconnected_unconfirmed = "Disconnected. The credential was deleted here, but the app could not be reached. Remove the access in the app's own settings.";
        renamed = "Name saved.";
        environment = "Environment saved.";
        sharing = "Sharing saved.";
        given_away = "Saved. The connection belongs to somebody else now, so you don't see it any more.";
        replaced = "Replaced. Workflows that name this connection get the other one from now on.";
        unreplaced = "Workflows that name this connection get it again.";
        acknowledged = "Noted. It is not shown again.";
        check_healthy = "Checked: it works.";
        check_broken = "Checked: it no longer works. Reconnect it.";
        check_unavailable = "The app didn't answer, so nothing is known yet. We check again automatically.";
        check_client = "The app refuses this workspace's client id and secret. Whoever set up the app must check them.";
        check_unknown = "Nothing could be checked: this app has no address to ask.";
        signed_in = "You are signed in.";
    }
    /// Statuses of a connection.
    status {
        connected = "Connected";
        not_checked = "Not checked yet";
        awaiting_confirmation = "Awaiting confirmation";
        needs_reconnect = "Needs reconnect";
    }
    /// The list of connections.
    list {
        title = "Connections";
        page_title = "Your connections";
    }
    /// The catalogue, and the pages before an app.
    connect {
        title = "Connect an app";
    }
    /// A connection's page.
    connection {
        back = "All connections";
        id = "Connection id";
    }
    /// What needs attention.
    review {
        title = "Review";
    }
    /// Workflows.
    workflows {
        title = "Workflows";
    }
    /// The audit log.
    activity {
        title = "Activity";
    }
    /// The administration.
    settings {
        title = "Settings";
    }
    /// Sign-in.
    sign_in {
        title = "Sign in";
    }
}
