"""The notebook server hands everything below /live/ to `panel serve`; it is started when first asked for."""

c = get_config()  # noqa: F821 - Jupyter puts it here
c.ServerProxy.servers = {
    "live": {
        "command": [
            *("panel", "serve", "atmorep_lite/app/main.py", "--warm"),
            *("--address", "127.0.0.1", "--port", "{port}"),
            *(
                "--allow-websocket-origin",
                "*",
            ),  # reached through the notebook server alone, which asks for its token
        ],
        "timeout": 240,
        "launcher_entry": {"title": "Live app", "path_info": "live/main"},
    }
}
