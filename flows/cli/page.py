"""`zava page`: the web page for the agent."""

from flows.cli.common import ProfileOption, SetOption, read_profile


def page(profile: ProfileOption = "local", overrides: SetOption = None) -> None:
    """Serve the web page for the agent on 127.0.0.1 (services.page_port); `zava up` does it in the background.

    On it a person talks with the champion or the base, sees each tool call and what it changes in the shop, and puts a
    conversation that went wrong into the replay pack. Each conversation has a sandbox of the shop of its own.

    Example: `zava page --set services.page_port=9000`
    """
    import uvicorn

    from flows.page import page as application

    port = read_profile(profile, overrides).services.page_port
    app = application(lambda: read_profile(profile, overrides), port)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
