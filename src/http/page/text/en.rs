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
        disconnected_for_now = "{name} is disconnected. We revoke its access at the app in 5 minutes.";
        undone = "It is connected again. Nothing was lost.";
        undone_without_default = "It is connected again. Another connection has become a default in the meantime, and stays one.";
        undone_without_replacement = "It is connected again, and answers for itself: the connection that answered for it doesn't fit any more.";
        undone_without_both = "It is connected again. Another connection has become a default in the meantime, and the one that answered for it doesn't fit any more.";
        undo_too_late = "It is too late: this connection is gone. Connect the account again.";
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
        checked_before_healthy = "It was checked less than a minute ago, so the app was not asked again. It works.";
        checked_before_broken = "It was checked a moment ago, so the app was not asked again. It no longer works: reconnect it.";
        checked_before_unavailable = "The app was asked a moment ago and didn't answer. Wait half a minute, then check again.";
        check_unknown = "Nothing could be checked: this app has no address to ask.";
        signed_in = "You are signed in.";
        client_saved = "Saved. Test it next: it takes a second.";
        client_deleted = "The OAuth client is deleted.";
        key_revoked = "The API key “{name}” is revoked.";
        role_saved = "Role saved.";
        person_removed = "{name} is removed from the workspace.";
        session_ended = "The session has ended.";
        sign_in_link_deleted = "The sign-in link is deleted. Nobody can use it any more.";
        link_ended = "The connect link has ended. Nobody can use it any more.";
        saved = "Saved.";
        webhook_deleted = "The webhook is deleted. Nothing more is sent to it.";
        app_created = "{name} is created. Set up how people sign in, or connect it.";
        app_saved = "Saved. Connections follow the new definition.";
        app_saved_staying = "Saved. {name} connections stay with the earlier definition, until they are reconnected.";
        app_deleted = "{name} is deleted. Its connections go on.";
        provider_removed = "Removed. People who are signed in stay so until their session ends.";
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
        about = "You connect an account once. Any number of workflow steps can use it.";
        search = "Search apps";
        search_example = "Slack, email, files…";
        search_button = "Search";
        found = "Apps found: {count}";
        category = "Category";
        all_categories = "All categories";
        group_custom = "Apps of this workspace";
        group_popular = "Popular";
        group_others = "More apps";
        group_found = "Apps";
        none_found = "No app matches this search.";
        none_found_for = "No app matches “{search}”.";
        show_all = "Show all apps";
        more_apps = "There are more apps. Search for the one that you need.";
        ready = "Ready";
        needs_setup = "Needs setup by an admin";
        sign_in_needs_setup = "Sign-in needs setup";
        set_up = "Set it up";
        custom = "Custom";
    }
    /// The choice of a way to connect an app.
    methods {
        title = "How do you want to connect {app}?";
        not_set_up_title = "{app} isn’t set up yet";
        oauth2 = "You sign in at {app} and allow the access there.";
        client_credentials = "You enter a client id and secret that you create at {app}.";
        service_account = "You enter the key file of a service account. It is for programs, not for a person’s account.";
        api_key = "You enter a key that you create at {app}.";
        bot_token = "You enter the token of a bot that you create at {app}.";
        basic = "You enter a user name and a password.";
        use_it = "Continue";
        set_up = "Set up";
        needs_setup = "An admin has to set this up once.";
        needs_setup_here = "Not set up yet. You do it once, and everybody can connect.";
        send_this = "Send this to an admin of your workspace:";
        how = "What the admin does";
        ask_sender = "Not set up yet. Ask whoever sent you the link to set it up.";
        request = "Please set up {app} ({method}) in the workspace {workspace}, so that we can connect it: {url}";
    }
    /// Who asks, before an app and with the form for a key.
    consent {
        connect_title = "Connect {app}";
        reconnect_title = "Reconnect {name}";
        asks = "The workspace {workspace} asks for access to {app} with an account of yours. Its workflows will be able to act there in the name of that account.";
        asks_again = "The workspace {workspace} asks you to renew its access to {app}. Its workflows will be able to act there in the name of that account.";
        account = "The connection’s account is {account}.";
        same_account_sign_in = "Sign in with that account. If you sign in with another one, you are asked before anything changes.";
        same_account_key = "Enter a key of that account. If the key belongs to another account, you are asked before anything changes.";
        meant_for = "This request is meant for {user}. If that is not you, close this page.";
        belongs_to = "The connection will belong to {user}.";
        belongs_to_all = "The connection will belong to the whole workspace.";
        by_link = "You came here by a link";
        by_link_about = "Whoever sent you the link will be able to use your {app} account through the workspace {workspace}.";
        trust = "Only continue if you trust them.";
        account_place = "Where your account is";
        scopes = "Permissions";
        no_scopes = "No permissions are named. {app} tells you what it will allow.";
        next = "What happens next";
        you_go_to = "You go to {place}, which may ask you to sign in, and asks you to allow the access. Check that name in your browser’s address bar before you type a password.";
        you_go_to_app = "You go to {place}, which may ask you to sign in, and asks you to allow the access. Check the address in your browser’s address bar before you type a password.";
        you_go_to_entered = "You go to {place} at the address that you entered above, which may ask you to sign in, and asks you to allow the access. Check the address in your browser’s address bar before you type a password.";
        password_stays = "Your password is not passed on to this workspace.";
        to_do_there = "What to do at {app}";
        continue_to = "Continue to {app}";
        cancel = "Cancel";
        close_before_continue = "Don’t want this? Close this page. Nothing happens until you continue.";
        other_ways = "Other ways to connect";
        recommended = "Recommended";
        not_set_up = "Needs setup by an admin.";
        set_up = "Set it up";
        how_to_set_up = "How to set it up";
        end_by_link = "To end the access later, ask whoever sent you the link to disconnect it, or remove it in the settings of your {app} account.";
        end_here = "You can end the access at any time on the connection’s page.";
    }
    /// The form for a key.
    manual {
        new_key_title = "New key for {name}";
        refused_title = "Not accepted: {title}";
        unreachable_title = "Not saved: {title}";
        enter_again = "For your safety nothing secret was kept: enter it again.";
        name = "Name of the connection";
        name_hint = "If empty, the name is the app and the account.";
        wrong_name = "Enter a name of up to 100 characters.";
        save = "Check and save";
        close_before_save = "Don’t want this? Close this page. Nothing is stored until you save.";
        checked_first = "It is checked with {app} before anything is saved. It is kept encrypted and no page shows it again. Workflow steps of the workspace {workspace} can use it.";
        least_rights = "Such a key allows whatever it was made for: where {app} lets you choose, give it only what the workflows need, and make one for this purpose alone, so that you can revoke it alone.";
    }
    /// Where it is sent.
    hosts {
        title = "Hosts that get your credential";
        sent_access = "The access that you allow is sent to these hosts and no others:";
        sent_entered = "What you enter is sent to these hosts and no others:";
        none_yet = "No host is known yet: {app} names it when you allow the access.";
        added_title = "These addresses are new";
        added = "{app} was changed in this workspace since this connection was made. It now also uses:";
        added_continue = "Continue only if you know that these are addresses of {app}. If you do not, ask whoever runs the workspace.";
        custom = "This app was defined by the workspace {workspace}. It is not from the catalogue, so nobody else has checked that these are hosts of {app}.";
        from_catalogue = "This app is from the catalogue of this software.";
        not_of_catalogue = "The catalogue does not name these addresses. Whoever set up the app in this workspace chose them: {hosts}. Go on only if you know them.";
    }
    /// Fields of forms.
    form {
        optional = "(optional)";
        find_it = "Find it at the app";
        looks_like = "Looks like {example}";
        not_accepted = "Not accepted:";
        correct = "Something has to be corrected";
        correct_marked = "Please correct what is marked";
        rejected = "{app} did not accept this";
        not_saved = "Nothing was saved";
        choose_scopes = "Choose what to allow";
        more_scopes = "More permissions ({count})";
        always_needed = "always needed";
        already_allowed = "already allowed";
        missing = "missing";
    }
    /// The question about another account.
    choose {
        other_account = "This is another account";
        same_account = "Is this the same account?";
        other_entered = "What you entered is of another account at {app} than the connection {name} had before.";
        other_signed_in = "You signed in to {app} with another account than the connection {name} had before.";
        same_name = "Both have the same name there.";
        unknown_entered = "{app} does not return enough information to compare the account of what you just entered to the one that the connection {name} had before.";
        unknown_signed_in = "{app} does not return enough information to compare the account you just signed in with to the one that the connection {name} had before.";
        account_before = "Account before";
        account_now = "Account now";
        account_unknown = "account unknown";
        keep = "Keep {account}";
        keep_as_it_was = "Keep it as it was";
        switch = "Switch to {account}";
        switch_to_new = "Switch to the new account";
        stays_connected = "{account} stays connected;";
        stays_as_it_was = "{name} stays as it was;";
        key_discarded = "the new key is discarded.";
        permission_discarded = "the new permission is discarded.";
        will_act_as = "Every workflow that uses {name} will act as {account} from now on.";
        account_entered = "the account of what you just entered";
        account_signed_in = "the account you just signed in with";
        affects_one = "This workflow uses it:";
        affects_some = "These {count} workflows use it:";
        affects_more = "More than {count} workflows use it, among them:";
        duplicate = "This account is already connected";
        duplicate_entered = "What you entered is of the account {account} at {app}.";
        duplicate_signed_in = "You signed in to {app} as {account}.";
        has_it_already = "The connection {name} has that account already.";
        reuse = "Reuse {name}";
        reuse_entered = "The existing connection gets the new key. No second one is made.";
        reuse_signed_in = "The existing connection gets the new permission, or stays as it is if it has more permissions already. No second one is made.";
        keep_both = "Keep both";
        both = "A second connection to {account} is made. Workflows that use {name} go on as before.";
        time_entered = "Nothing changes until you choose. Ten minutes after you entered it, the new key is discarded.";
        time_signed_in = "Nothing changes until you choose. Ten minutes after you came back from the app, the new permission is discarded.";
    }
    /// How a flow ended.
    outcome {
        connected_as = "{app} is connected as {account}.";
        connected = "{app} is connected.";
        missing = "These permissions were not granted: {scopes}. Steps that need them will fail.";
        allow_now = "You can allow them now.";
        tell_sender = "Tell whoever sent you the link.";
        connected_title = "Connected";
        close_page = "You can close this page.";
        close_window = "You can close this window.";
        almost_title = "Almost done";
        finish_page = "Go back to where you came from to finish.";
        finish_window = "You can close this window, and finish where you came from.";
        in_progress = "{app} has answered, and the answer is being checked. This page goes on by itself in a few seconds.";
        look_again = "Look again";
        nothing_added_title = "Nothing was added";
        nothing_added = "You did not allow more at {app}. The connection stays as it was.";
        not_connected_title = "Not connected";
        denied = "You did not allow access at {app}, so nothing was stored.";
        kept_title = "Left as it was";
        kept = "The connection keeps its account. The new access was revoked.";
        not_finished_title = "Not finished";
        not_finished = "The answer of {app} arrived here, but could not be stored. Please try again.";
        open_title = "Still open";
        open = "{app} has not answered yet. Finish there, or start again.";
        too_late_title = "Too late to choose";
        too_late = "The time to choose is over; nothing was changed. Please connect again.";
        failed = "Nothing was stored. Please try again.";
        link_ended = "The link has ended. Ask whoever sent it for a new one.";
        of_this_client = "of this client";
        how_to_approve = "How an administrator approves it";
        allow_missing = "Allow what is missing";
        go_back = "Go back";
        try_again = "Try again";
        connections = "Connections";
        back = "Back to your connections";
    }
    /// Answers of an app that belong to no flow of this browser.
    refusal {
        nothing_stored = "Nothing was stored and no connection was changed.";
        unknown_title = "We don’t recognise this sign-in";
        unknown = "An app sent you here, but we don’t know the request it answers. The address may be incomplete, or the request is so old that it was deleted.";
        unknown_next = "To connect the app, start again from your connections, or open the link you were sent once more.";
        expired_title = "That took too long";
        expired = "You came back from the app after the time for this request had run out.";
        expired_next = "Start again from your connections, or open the link you were sent once more, and finish at the app within ten minutes.";
        reopened_title = "The link was opened in another browser";
        reopened = "Since you went to the app, the link you were sent was opened again in another browser. What was begun here ended then, so that the link connects one account.";
        reopened_next = "Finish in the other browser, or start again here: open the link once more.";
        other_browser_title = "You began in another browser";
        other_browser = "An app’s answer is only taken in the browser that asked for it, so that nobody can slip you an account that is not yours. This browser did not ask, or has been signed out since.";
        other_browser_next = "Start again and stay in one browser: sign in here, or open the link you were sent here.";
    }
    /// A link for somebody else than who is signed in.
    other_person {
        title = "This link is for {name}";
        other_workspace = "This link is for another workspace";
        sign_out = "Sign out and continue";
        stay = "Stay signed in";
    }
    /// How an OAuth client is set up, for who has no admin's rights here.
    setup {
        title = "Set up {app}";
        title_of_method = "Set up {app}: {method}";
        all_apps = "All apps";
        here = "Set it up here";
        here_about = "You are an admin: enter the client on a page that also tests it.";
        ready = "The workspace {workspace} has an OAuth client of {app}, and everybody can connect it {how}. These steps are for whoever changes the client or its secret.";
        not_ready = "The workspace {workspace} has no OAuth client of {app} yet, so nobody can connect it {how}. An admin of the workspace makes one, once, and everybody can connect. If that is not you, send them the address of this page.";
        this_way = "this way";
        by_sign_in = "by signing in at the app";
        other_ways = "Other ways to connect {app}";
        connect = "Connect";
        how_to = "How to set it up";
        shared_with = "The same client is used for {apps}. If you set it up here, it is set up there too.";
        make_client = "Make a client at {app}";
        console = "Open where {app} makes clients";
        register = "Register an application (an OAuth client) there. You need its client id and its client secret.";
        redirect_uri = "The redirect URI, also called callback address:";
        redirect_uri_depends = "This is the redirect URI for the usual value of {variables}. If you enter another value in the next step, the answer contains another redirect URI. Use that one.";
        redirect_uri_later = "The redirect URI is in the answer to the next step. If a form asks for it before, enter any address of yours and change it afterwards.";
        scopes = "Permissions to select at the app";
        scopes_about = "If the app wants to know in advance which permissions its client may ask for, tick there whatever people are to be able to choose here.";
        default_scopes = "Asked for, unless they choose otherwise:";
        optional_scopes = "Optional permissions ({count})";
        enter = "Enter it here";
        enter_about = "Run this on a computer that has the client secret. {key} is an API key of the workspace that has the scope {scope}; what the app gave you takes the place of each {blank} in it.";
        enter_redirect_uri = "Enter the redirect URI at {app}";
        enter_redirect_uri_about = "The answer has it as {member}. The client at the app must allow exactly that address.";
        then = "Then";
        test = "See what {app} makes of it, before anybody connects:";
        test_with_values = "See what {app} makes of it, before anybody connects (replace each {blank} by a value that a person would enter):";
        reload = "Then {app} is among the apps to connect.";
        tell_people = "Tell the people who connect:";
        documentation = "Documentation of {app}";
        not_needed_title = "{app} needs no set-up";
        not_needed = "What it asks for is entered here when it is connected. Everybody can do that right away.";
        connect_app = "Connect {app}";
    }
    /// A connection's page.
    connection {
        back = "All connections";
        id = "Connection id";
        subtitle = "{app} · {account}";
        more = "More actions";
        check = "Check now";
        reconnect = "Reconnect";
        new_key = "Enter a new key";
        ask_missing = "Ask for the missing permissions";
        rename = "Rename";
        name_label = "Name of this connection";
        save_name = "Save name";
        rename_hint = "Workflows find the connection by its id, so a new name breaks nothing.";
        replace = "Replace…";
        disconnect = "Disconnect…";
        status = "Status";
        access = "Access";
        app_removed = "This app was removed from the workspace, so this can't be connected again.";
        app_removed_works = "Workflows can still use the connection as long as the access lasts.";
        app_removed_broken = "Disconnect it when no workflow needs it any more.";
        ends_by_use = "This access ends on {time} if nothing uses it until then. The regular check uses it, too.";
        ends_unless_renewed = "This access is renewed automatically. It would end on {time} without that.";
        ends_for_good = "This access ends on {time} and can't be renewed. Reconnect before then.";
        ends_for_good_removed = "This access ends on {time} and can't be renewed.";
        renews = "Renews automatically";
        renews_until_revoked = "Renews automatically, until the key is revoked at {app}";
        no_end = "Doesn't expire";
        no_end_until_revoked = "Doesn't expire. It works until it is revoked at {app}";
        no_end_known = "{app} doesn't say when it ends";
        ends = "Ends on {time}";
        ends_new_key = "Ends on {time}. Enter a new key before then";
        ends_reconnect = "Ends on {time}. Reconnect before then";
        ended = "Ended";
        missing_title = "Missing permissions";
        missing_about = "{app} didn't grant these. Steps that need them fail until you allow them:";
        granted_title = "Permissions";
        granted_none = "{app} has not named any permissions for this connection.";
        uses_title = "Used by";
        uses_none = "No workflow has used it yet.";
        uses_caption = "Workflow steps that use this connection";
        use_workflow = "Workflow";
        use_step = "Step";
        use_last = "Last used";
        use_days = "Days";
        use_unnamed = "Not named";
        use_more = "These are the last {shown} of {count} steps.";
        use_day = "1 day";
        use_on_days = "{count} days";
        workflows = "{count} workflows";
        workflow = "1 workflow";
        history_title = "History";
        history_none = "Nothing is recorded yet.";
        history_check = "Last check";
        details_title = "Details";
        account = "Account";
        app = "App";
        owner = "Owner";
        owner_none = "Nobody";
        owner_you = "You";
        sharing = "Who uses it";
        shared = "Everybody in the workspace";
        private = "Only the owner and admins";
        private_nobody = "Only admins";
        environment = "Environment";
        environment_unknown = "Not set";
        production = "Production";
        test = "Test";
        default = "Default";
        default_none = "No";
        default_workspace = "For the workspace";
        default_workspace_in = "For the workspace, {environment}";
        default_user = "For {name}";
        default_user_in = "For {name}, {environment}";
        change = "Change";
        change_environment = "Change the environment";
        change_sharing = "Change who uses it";
        connected = "Connected";
        created = "Created";
        last_used = "Last used";
        use_it_title = "Use it in a workflow";
        use_it_about = "A workflow step asks for the credential with an API key. It never needs to store it.";
        curl = "curl";
        typescript = "TypeScript";
        machinery = "Technical details";
        auth_method = "Auth method";
        account_id = "Account id";
        next_check = "Next check";
        generation = "Generation";
        version = "Version of the credential";
        revision = "Revision of the app";
        client = "OAuth client";
        members_title = "Changes";
        members_about = "This connection belongs to somebody else, or to everybody. Only its owner or an admin can rename, reconnect, replace or disconnect it, and change its environment and who uses it. Ask an admin if it has to change.";
        not_accepted = "Not accepted: {name}";
    }
    /// What is known of whether a connection works.
    evidence {
        signed_in = "Signed in at {app} {time}.";
        renewed = "{app} renewed the access {time}.";
        accepted = "{app} accepted it at the last check {time}.";
        unclear = "{app} answered the last check {time}, but the answer doesn't say whether it works.";
        addresses_changed = "Not checked: the app's addresses have changed since the credential was saved. Reconnect to use the new ones.";
        nothing_to_ask = "{app} has no address to ask, so it can't be checked. A workflow step shows whether it works.";
        no_answer = "{app} didn't answer the last check {time}. We try again automatically.";
        renewal_failed = "Renewing the access failed {time} ({code}). We try again automatically.";
        held_back = "{app} was not asked at the last check, because it fails for other connections, too. We try again automatically.";
        never = "Nobody has tried this credential since it was saved. Check it now.";
        unconfirmed = "Somebody connected this through a link. No workflow can use it until the product that made the link has confirmed who it was. After a week without that it is removed.";
        revoked = "{app} says that the access was revoked {time}.";
        expired = "The access ended {time}, at the time that {app} had set.";
        lost_rotation = "{app} renewed the access, but its answer was lost on the way {time}.";
        refresh_token_missing = "The access ended {time}, and {app} gave nothing to renew it with.";
        rejected_key = "{app} rejected the saved key {time}.";
        rejected_sign_in = "{app} rejected the saved sign-in {time}.";
        other_account = "{app} says {time} that this sign-in belongs to another account now.";
        unreadable = "The saved credential can't be decrypted with the current encryption keys. Reconnect, or tell the operator of the installation.";
        unknown = "Last checked {time}.";
    }
    /// The history of a connection.
    history {
        you = "You";
        key = "The key “{name}”";
        revoked_key = "A key that is revoked";
        link = "Somebody with a connect link";
        schedule = "The regular check";
        check = "A check";
        refresh = "A renewal";
        embedder = "The product that made the link";
        operator = "The operator";
        somebody = "Somebody";
        connected = "{actor} connected it";
        reconnected = "{actor} reconnected it";
        account_switched = "{actor} switched the account ({detail})";
        reused = "{actor} connected the same account again, and kept this connection";
        confirmed = "{actor} confirmed who had connected it";
        renamed = "{actor} renamed it to “{detail}”";
        edited = "{actor} changed it";
        edited_environment = "{actor} set the environment to {detail}";
        edited_shared = "{actor} shared it with everybody in the workspace";
        edited_unshared = "{actor} stopped sharing it";
        edited_owner = "{actor} gave it to {detail}";
        edited_metadata = "{actor} changed its metadata";
        edited_workflows = "{actor} changed which workflows may use it";
        needs_reconnect = "It stopped working: {detail}";
        token_lost = "One of its tokens was refused and removed ({detail})";
        definition_updated = "It follows the changed definition of its app";
        definition_changed = "It stays with the earlier definition of its app";
        default_set = "{actor} made it a default ({detail})";
        default_ended = "It is no longer a default ({detail})";
        default_first = "It became the default of its app, as the first shared connection";
        replaced_by = "{actor} let another connection answer for it";
        answers_for = "{actor} let it answer for another connection";
        replacement_ended = "{actor} ended a replacement";
        acknowledged = "{actor} confirmed that the steps are right";
        disconnected = "{actor} disconnected it";
        undone = "{actor} undid the disconnect";
        credential_returned = "{actor} got its credential";
        other = "{actor}: {detail}";
        check_works = "Check: works";
        check_no_answer = "Check: no answer";
        check_unclear = "Check: unclear";
        check_fails = "Check: doesn't work";
    }
    /// The pages that change a connection.
    change {
        cancel = "Cancel";
        rename_title = "Rename {name}";
        environment_title = "Environment of {name}";
        environment_label = "What the account is for";
        environment_unknown = "Not set";
        environment_production = "Real work (production)";
        environment_test = "Tests (test)";
        environment_save = "Save environment";
        environment_hint = "A step that expects the other environment is refused. If this connection was the default of its environment, that ends.";
        sharing_title = "Who uses {name}";
        sharing_label = "Everybody in the workspace may use it";
        sharing_save = "Save who uses it";
        owner_label = "Owner";
        owner_nobody = "Nobody: it belongs to the workspace";
        owner_id_label = "Id of the owner (empty for nobody)";
        owner_admins = "Only an admin can give the connection to somebody else.";
        replace_title = "Replace {name}";
        replace_about = "Steps that name this connection get the other one from then on. You can end that at any time.";
        replace_label = "Connection that answers instead";
        replace_none = "There is no other working connection of this app that you may use for it. Connect one first.";
        replace_across = "Also if the two are for different environments";
        replace_save = "Let it answer instead";
        replace_answers = "It answers for other connections itself. End that first, on the page of each.";
        moved = "These steps get the other connection:";
        disconnect_title = "Disconnect {name}?";
        disconnect_stops = "These workflows use it and stop working until their steps use another connection:";
        disconnect_unnamed = "A caller without a workflow name used it last {time}.";
        disconnect_unused = "No workflow has used it.";
        disconnect_about = "It is gone at once. We revoke the access at {app} after 5 minutes, if {app} offers that and no other connection shares it. Until then you can undo this.";
        disconnect_defaults = "Steps that name only the app get it as a default. They get another connection, or fail.";
        disconnect_now = "Disconnect now";
    }
    /// What was disconnected and can be brought back.
    undo {
        title = "Recently disconnected";
        about = "Workflows can't use these connections now. You can bring each one back as it was.";
        revoked_at = "revoked {time}";
        undo = "Undo";
        revoke_now = "Revoke now";
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
        about = "Who did what in this workspace. Nobody can change these lines.";
        filters = "Filter the activity";
        anything = "Anything";
        when = "When";
        what = "What happened";
        who = "Who";
        subject = "About";
        details = "Details";
        request = "Request";
        workflow = "Workflow";
        workflow_label = "Workflow";
        connection = "Connection id";
        app = "App id";
        from = "From";
        to = "Until";
        older = "Older";
        look_further = "Look further back";
        none = "Nothing has happened yet.";
        none_yet = "Nothing in the newest lines matches these filters. Look further back.";
        none_found = "Nothing matches these filters.";
        export_csv = "CSV";
        export_json = "JSON";
        export_about = "An export has the lines that match the filters, from the top of this page on, up to 1,000 of them.";
        by_person_unknown = "A person";
        by_link = "Connect link";
        by_embedder = "Your product";
        by_refresh = "Automatic renewal";
        by_check = "Check";
        by_schedule = "Scheduled run";
        by_operator = "Operator";
        by_stranger = "Somebody with a wrong credential";
        wrong_day = "Enter a day, such as 2026-11-30.";
        wrong_connection = "Enter a connection's id, which begins with con_.";
        wrong_app = "Enter an app's id, such as slack.";
        wrong_type = "Choose one of the list.";
    }
    /// The administration: what its pages share.
    settings {
        title = "Settings";
        navigation = "Settings";
        nav_apps = "Apps and clients";
        nav_keys = "API keys";
        nav_links = "Connect links";
        nav_people = "People";
        nav_sessions = "Sessions";
        nav_custom_apps = "Custom apps";
        nav_sign_in = "Sign-in";
        nav_workspace = "Workspace";
        nav_defaults = "Defaults";
        nav_webhooks = "Webhooks";
        save = "Save";
        optional = "(optional)";
        search = "Search";
        filter = "Filter";
        show_all = "Show all";
        not_saved = "Not saved";
        cancel = "Cancel";
        back = "Back";
        wrong_name = "Enter a name of up to 100 characters.";
        wrong_person = "Enter a name of up to 128 characters.";
        out_of_date = "Somebody else changed this at the same moment. Look at it again, then retry.";
    }
    /// API keys.
    keys {
        title = "API keys";
        about = "A program uses an API key to get credentials for its workflows. Give each program a key of its own, with no more than it needs.";
        none = "No API keys yet.";
        create = "Create an API key";
        name = "Name";
        name_hint = "What uses it, such as “Workflow engine”.";
        may = "What it may do";
        created = "Created";
        ends = "Ends";
        ended = "Ended";
        scope_connections_read = "See connections and apps";
        scope_connections_write = "Create, change, check and disconnect connections";
        scope_resolve = "Get credentials for workflow steps";
        scope_proxy = "Send requests to apps without seeing the credential";
        scope_apps = "Set up apps and OAuth clients";
        scope_links = "Create connect links, and sign members in";
        scope_keys = "Create and revoke API keys, and change the workspace";
        scope_people = "Sign admins in, and manage people and sessions";
        scope_webhooks = "Manage webhooks";
        scope_events = "Read the activity log";
        scope_all = "Everything";
        limit = "Limit it to some connections";
        limit_about = "Other connections don't exist for the key. A limited key creates nothing new.";
        apps = "Only these apps";
        apps_hint = "Ids with spaces between them, such as: slack notion";
        connections = "Only these connections";
        connections_hint = "Ids with spaces between them. Each connection's page has its id.";
        environment = "Environment";
        any = "Any";
        production = "Production";
        test = "Test";
        in_7_days = "In 7 days";
        in_30_days = "In 30 days";
        in_90_days = "In 90 days";
        in_a_year = "In a year";
        one_app = "Only one app";
        some_apps = "Only {count} apps";
        one_connection = "Only one connection";
        some_connections = "Only {count} connections";
        only_test = "Only test";
        only_production = "Only production";
        wrong_scopes = "Choose at least one.";
        wrong_apps = "is no app's id. Use ids such as slack, with spaces between them.";
        wrong_connections = "is no connection's id. Use ids that begin with con_, with spaces between them.";
        created_title = "API key created";
        rotated_title = "New secret created";
        once = "Copy the key now.";
        once_about = "This is the only time that it is shown.";
        previous_until = "The old secret works until {time}.";
        use_it = "Try it";
        use_about = "This command gets the credential of a connection. Paste it into a terminal.";
        stored = "I have stored the key";
        about_key = "About this key";
        id = "Id";
        all_apps = "All";
        all_connections = "All";
        made_by = "Created by the key";
        previous = "Old secret";
        accepted_until = "Works until {time}";
        rotate = "Create a new secret";
        rotate_about = "The key keeps its id and what it may do. What it created goes on.";
        overlap = "How long the old secret still works";
        overlap_none = "It ends at once";
        overlap_hour = "One hour";
        overlap_day = "One day";
        overlap_week = "One week";
        revoke = "Revoke the key";
        revoke_about = "Programs that use it are refused from then on. This can't be undone.";
        it_made = "With this key were created, and could still be used:";
        made_nothing = "It created nothing that could still be used.";
        end_made = "End these, too";
        one_link = "One connect link";
        some_links = "{count} connect links";
        one_sign_in_link = "One sign-in link";
        some_sign_in_links = "{count} sign-in links";
        one_session = "One session";
        some_sessions = "{count} sessions";
    }
    /// People.
    people {
        title = "People";
        about = "Members see shared connections and their own. Admins see and change everything.";
        search = "Search people";
        none = "Nobody has signed in yet.";
        none_found = "Nobody matches this search.";
        person = "Person";
        role = "Role";
        member = "Member";
        admin = "Admin";
        member_can = "Member: uses shared connections and their own";
        admin_can = "Admin: changes everything";
        last_sign_in = "Last sign-in";
        you = "You";
        invite = "Invite somebody";
        invite_about = "You get a sign-in link to send to them. It works once, for ten minutes.";
        id = "E-mail address or user id";
        id_hint = "What your product knows them by. It can't be changed later.";
        name = "Name";
        make_link = "Create the sign-in link";
        invited_title = "Sign-in link for {name}";
        once = "Copy the link now, and send it to them alone.";
        once_about = "This is the only time that it is shown.";
        link = "Sign-in link";
        link_ends = "It works once and ends {time}. You can create another one at any time.";
        signs_in_as = "It signs them in as {role}.";
        provider_person = "People of your sign-in provider sign in there, not with a link.";
        about_person = "About";
        first_seen = "First seen";
        change_role = "Role";
        role_about = "A member loses an admin's rights at once. A new admin has them from the next sign-in on.";
        save_role = "Save the role";
        connections = "Connections";
        owns_nothing = "Owns no connections.";
        more_connections = "There are more than are shown here.";
        shared = "Shared";
        private = "Private";
        one_workflow = "used by one workflow";
        some_workflows = "used by {count} workflows";
        remove = "Remove from the workspace";
        remove_about = "What happens:";
        remove_sessions = "They are signed out everywhere, and their open links end.";
        remove_connections = "Their connections keep working. Choose below who gets them.";
        remove_keys = "API keys that they created keep working. Revoke those that they know.";
        heir = "Who gets their connections";
        heir_hint = "With nobody, private ones are seen by admins alone.";
        nobody = "Nobody";
        without_admin = "Leave the workspace without an admin";
    }
    /// Sessions.
    sessions {
        title = "Sessions";
        about = "Browsers that are signed in to this workspace. A session ends by itself after twelve hours.";
        person = "Person";
        began = "Began";
        ends = "Ends";
        end = "End";
        of_link = "Connect link";
        this_browser = "This browser";
        pending = "Sign-in links not used yet";
        none_pending = "There are none.";
        delete = "Delete";
    }
    /// Connect links.
    links {
        title = "Connect links";
        about = "A connect link lets somebody connect an app without signing in here. Send it to one person; it works once.";
        none = "No connect links yet.";
        create = "Create a connect link";
        app = "App";
        app_hint = "Apps that can be connected now.";
        person = "For";
        anybody = "Whoever has the link";
        state = "State";
        made = "Created";
        ends = "Ends";
        end = "End";
        connection = "Open the connection";
        user_id = "User id of the person";
        user_id_hint = "The connection will be theirs. Empty: it belongs to the whole workspace.";
        user_name = "Name of the person";
        shared = "Everybody in the workspace may use the connection";
        environment = "Environment";
        hour = "In one hour";
        day = "In one day";
        week = "In one week";
        created_title = "Connect link for {app}";
        once = "Copy the link now, and send it to the person alone.";
        once_about = "This is the only time that it is shown.";
        link = "Connect link";
        link_ends = "It ends {time}.";
        open = "Open";
        waiting_for_choice = "Waiting for an answer";
        awaiting_confirmation = "Awaiting confirmation";
        used = "Used";
        ended = "Ended";
        expired = "Expired";
        wrong_app = "Choose an app.";
        wrong_shared = "Tick this, or enter whose the connection will be.";
    }
    /// Apps and their OAuth clients.
    apps {
        title = "Apps and OAuth clients";
        about = "Most apps let people sign in only after you register your workspace there once, as an OAuth client.";
        search = "Search apps";
        found = "{count} apps found";
        none_found = "No app matches this search.";
        group_set_up = "Set up";
        group_missing = "Need an OAuth client";
        group_not_needed = "Need no OAuth client";
        custom = "Custom";
        ready = "Ready";
        broken = "Refused by the app";
        ends_soon = "Secret ends soon";
        missing = "Needs set-up";
        missing_for_one_way = "Sign-in not set up";
        not_needed = "Nothing to set up";
        no_client_yet = "Nobody can sign in at {app} yet. Three steps, once, and everybody can.";
        client = "OAuth client";
        client_id = "Client id";
        client_secret = "Client secret";
        stored = "Stored encrypted. It is never shown again.";
        no_secret = "None: a public client";
        expires_on = "Secret ends on";
        expires_hint = "If the app says so. You are warned 30 days before.";
        expiry_unknown = "Not known";
        secret_ended = "It ended";
        changed = "Last changed";
        shared_with = "Also used for {apps}.";
        register = "Register a client at {app}";
        register_about = "Register an application, also called an OAuth client, at the app. You need its client id and client secret.";
        open_console = "Open {app}'s page for this";
        redirect_uri = "Redirect URI, also called callback URL";
        redirect_uri_depends = "This is for the usual value of {variables}. If you enter another one below, you get another redirect URI after saving.";
        redirect_uri_later = "You get the redirect URI after saving. If a form asks for it before, enter any address of yours and change it afterwards.";
        default_scopes = "Permissions that are asked for";
        optional_scopes = "Optional permissions";
        scopes_about = "If the app wants to know which permissions its client may ask for, tick these there.";
        documentation = "Documentation of {app}";
        enter = "Enter it here";
        secret_hint = "Leave it empty only for a public client.";
        secret_kept = "Leave it empty to keep the stored one.";
        more = "More options";
        scopes = "Permissions to ask for";
        scopes_hint = "As the app names them, with spaces between them. Empty: the usual ones.";
        private_key = "Private key instead of a secret";
        private_key_hint = "PEM (PKCS#8). It signs requests and is never sent.";
        key_id = "The app's id of the private key";
        certificate = "SHA-256 of the certificate";
        certificate_hint = "In base64url (x5t#S256), if the app requires it.";
        without_secret = "Remove the stored secret: it is a public client";
        save = "Save the client";
        test = "Test it";
        test_about = "Asks {app} whether it accepts this client. Nobody is connected, and nothing is granted.";
        connect = "Connect {app}";
        test_accepted = "{app} accepts this client";
        test_refused = "{app} refuses this client";
        test_misconfigured = "{app} knows this client, but doesn't allow the request";
        test_unclear = "{app}'s answer doesn't say whether it accepts this client";
        test_unreachable = "We couldn't reach {app}";
        other_ways = "Other ways to connect";
        delete = "Delete the client";
        delete_about = "Only a client that no connection uses can be deleted.";
        delete_look = "See what uses it";
        delete_title = "Delete the OAuth client for {app}?";
        delete_which = "Its client id is {client}.";
        delete_unused = "No connection uses it. Nobody can sign in at the app until you enter another one.";
        delete_shared = "That also goes for {apps}.";
        delete_instead = "Disconnect them first. To replace a secret, enter the new one: nothing has to be deleted.";
        used_by_one = "One connection uses it:";
        used_by_some = "{count} connections use it:";
        and_more = "and more";
        two_secrets = "Enter a client secret or a private key, not both.";
        problem_refused = "{app} refuses this client. Check its id and secret.";
        problem_unreadable = "The stored secret can't be read any more. Enter it again.";
        problem_key = "The private key can't be used to sign. Enter it again.";
        problem_addresses = "The secret was entered for other addresses of the app. Enter it again.";
        no_client_needed = "{app} needs no OAuth client";
        no_client_needed_about = "What it asks for is entered when somebody connects it. Everybody can do that right away.";
    }
    /// Custom apps.
    custom_apps {
        title = "Custom apps";
        about = "Apps that are not in the catalogue: your own product, or one that you know how to reach.";
        none = "No custom apps yet.";
        create = "Create a custom app";
        usual = "The usual";
        name = "Name";
        id = "Id";
        id_hint = "Small letters, digits and -. Programs name the app by it. It can't be changed.";
        method = "How people connect it";
        method_hint = "Fill in the part below that belongs to it.";
        by_issuer = "OAuth, discovered from its issuer";
        by_addresses = "OAuth, with addresses";
        by_api_key = "API key";
        issuer = "Issuer";
        issuer_hint = "The address of its sign-in server. The rest is read from there.";
        authorize_url = "Authorization address";
        authorize_url_hint = "Where people allow access.";
        token_url = "Token address";
        token_url_hint = "Where codes become tokens.";
        revoke_url = "Revocation address";
        revoke_url_hint = "Where access is taken back, if there is one.";
        scopes = "Permissions to ask for";
        scopes_hint = "For OAuth, with spaces between them, such as: openid email";
        header = "Header with the key";
        header_hint = "Such as X-Api-Key.";
        account = "Which account it is";
        identity_url = "Address that tells the account";
        identity_url_hint = "Asked with the credential. It also shows whether the credential works.";
        identity_id = "Where the account's id is in the answer";
        identity_id_hint = "A JSON pointer, such as /user/id.";
        identity_label = "Where its name or e-mail address is";
        identity_label_hint = "A JSON pointer, such as /user/email.";
        whole = "Enter the whole definition as JSON";
        whole_about = "The same format as the catalogue's files: docs/catalogue.md describes it.";
        definition = "Definition";
        definition_hint = "JSON, at most 64 KB.";
        problems = "The definition has to be corrected";
        see_problems = "See the list above.";
        edit = "Definition";
        edit_about = "Connections follow a change where it is safe. The others stay with the earlier definition until they are reconnected.";
        delete = "Delete the app";
        delete_about = "Nobody can connect it any more. Connections that there are go on.";
        delete_title = "Delete {app}?";
        delete_unused = "It has no connections.";
        goes_on_one = "One connection goes on with the last definition:";
        goes_on_some = "{count} connections go on with the last definition:";
    }
    /// The identity provider.
    provider {
        title = "Sign-in";
        about = "People sign in with a link that you send them. With an identity provider of your own (OIDC), such as Okta, Google or Microsoft Entra, they sign in there.";
        set_up = "Your provider";
        sign_in_url = "Where people sign in";
        issuer = "Issuer";
        issuer_hint = "Exactly as the provider calls itself.";
        step_issuer = "Name the provider";
        show_redirect_uri = "Show the redirect URI";
        step_client = "Register a client there, and enter it here";
        secret_hint = "Enter it with each change. It is never shown again.";
        domains = "Only these e-mail domains";
        domains_hint = "With spaces between them. Empty: everybody whom the provider lets in.";
        groups = "Groups whose members are admins";
        groups_hint = "One a line. Empty: the provider says nothing about roles.";
        remove = "Remove the provider";
        remove_about = "Nobody can sign in there any more. Sign in by a link again, or you lock yourself out.";
    }
    /// The workspace.
    workspace {
        title = "Workspace";
        about = "About this workspace";
        name = "Name";
        name_hint = "Whoever opens a connect link sees it.";
        origins = "Sites that connect links may lead back to";
        origins_hint = "One a line, as browsers write it, such as {origin}";
        branding = "Look of connect links";
        branding_about = "Whoever opens a connect link sees this beside the names of the workspace and of this installation.";
        brand_name = "Name of your product";
        logo_url = "Address of its logo";
        logo_hint = "An https address of an image.";
        accent = "Its colour";
        accent_hint = "Six digits, such as #0a50b0. The text on it is black or white, whichever can be read.";
        id = "Id";
    }
    /// Default connections.
    defaults {
        title = "Defaults";
        about = "A workflow step that names an app and no connection gets the default.";
        none = "No defaults yet. The first shared connection of an app becomes its default.";
        set = "Set the default of an app";
        choose = "Choose";
        app = "App";
        who = "For";
        workspace = "The workspace";
        connection = "Connection";
        change = "Change";
        for_workspace = "For the whole workspace.";
        for_person = "For";
        has_none = "There is no default.";
        has = "The default is";
        moves_one = "One workflow uses it by default, and moves with a change:";
        moves_some = "{count} workflows use it by default, and move with a change:";
        no_candidates = "No other connection can be the default. Connect one, or share one.";
        save = "Make it the default";
        end = "Have no default";
        end_about = "Steps that name the app get its only connection. If there are several, they are refused.";
    }
    /// Webhooks.
    webhooks {
        title = "Webhooks";
        about = "Your own program is told when a connection breaks, works again, ends soon or changes. Each message is signed.";
        none = "No webhooks yet.";
        create = "Create a webhook";
        url = "Address";
        url_hint = "An https address of your program.";
        types = "What it is told of";
        state = "State";
        on = "On";
        off = "Off";
        failing = "Failing";
        is_failing = "The last attempts have failed. It is switched off after five days.";
        off_failing = "Switched off, because every attempt of five days has failed. Mend the receiver, then switch it on.";
        off_gone = "Switched off, because the receiver answered that it is gone (410).";
        off_unreadable = "Switched off, because its secret can't be read any more. Create a new secret, then switch it on.";
        created_title = "Secret of the webhook";
        once = "Copy the secret now.";
        secret = "Signing secret";
        secret_about = "Your program verifies each message with it (Standard Webhooks).";
        stored = "I have stored the secret";
        test = "Send a test";
        test_about = "Sends a message of the type webhook.test now, and shows what the receiver answered.";
        arrived = "It arrived.";
        not_arrived = "It did not arrive.";
        switch_off = "Switch off";
        switch_on = "Switch on";
        deliveries = "Deliveries";
        no_deliveries = "Nothing was sent yet.";
        event = "Event";
        happened = "Happened";
        next = "Next attempt";
        redeliver = "Send again";
        pending = "Waiting";
        delivered = "Delivered";
        failed = "Failed";
        refused = "The receiver refused it";
        redirected = "The receiver redirects, which is not followed";
        timed_out = "No answer within 10 seconds";
        unreachable = "Not reachable";
        address_refused = "Nothing may be sent to this address";
        gone = "The receiver wants no more";
        change = "Change";
        rotate_about = "For a while each message is signed with both secrets, so that your program can change at any time.";
        delete = "Delete the webhook";
        delete_about = "Nothing more is sent to it. What waits to be sent is dropped.";
    }
    /// The panic button.
    emergency {
        title = "Disconnect everything of {app}";
        button = "Disconnect everything";
        at_least = "At least";
        one_connection = "One connection gives out nothing from this moment on, and is revoked at the app.";
        some_connections = "{count} connections give out nothing from this moment on, and are revoked at the app.";
        one_workflow = "One workflow that used them stops.";
        some_workflows = "{count} workflows that used them stop.";
        forever = "This can't be undone: people have to connect again.";
        confirm = "Confirm";
        confirm_hint = "Type {app} to confirm.";
        reason = "Reason";
        reason_hint = "It stands in the activity log.";
        wrong_confirm = "Type the app's id as it is written here.";
        wrong_reason = "Say why, in up to 500 characters.";
        job_title = "Disconnecting {app}";
        running = "Running";
        finished = "Finished";
        denied = "All its connections are denied since the button was pressed. They are ended and revoked one after another.";
        receipt = "Receipt";
        progress = "{done} of {all} are revoked and erased";
        refresh = "Refresh";
        by_itself = "It goes on by itself, also if you close this page.";
        began = "Began";
        connections = "Connections that were ended";
        workflows = "Workflows that used them";
        confirmed = "Revocations that the app confirmed";
        unsupported = "Erased here; the app has no way to revoke";
        kept_shared = "Kept at the app, because another connection has the same access";
        failed = "Not confirmed yet; tried again for a day";
        id = "Id";
        about = "For when a credential leaked: ends all connections of this app at once.";
    }
    /// A resolve that a person tries.
    try_it {
        title = "Try it";
        about = "This is what a workflow step does before it calls the app. See what it gets from “{name}”.";
        request = "Request";
        request_about = "A step sends this. Here you do it with your own sign-in.";
        key = "A program needs an API key as $KEY.";
        make_key = "Create one";
        run = "Run it";
        again = "Run it again";
        not_counted = "This is no use of the connection: the lists of uses don't count it.";
        answer = "Answer";
        masked = "Secrets are masked here. A program gets them whole.";
        fresh = "The stored token lasts long enough, so it was given at once. Nobody asked the app.";
        stale = "The stored token ends soon. It was given at once, and is renewed behind the answer.";
        refreshed = "The stored token had ended or was about to. It was renewed first, and the step waited for it.";
        refused = "A program gets this refusal. It says what to do.";
    }
    /// Sign-in.
    sign_in {
        title = "Sign in";
        signed_out = "Signed out";
        signed_out_about = "You are signed out in this browser.";
    }
}
