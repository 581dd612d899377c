"""The pages: ``streamlit run dashboard/ui/app.py``. One for each stream, and with several of them an overview."""

from __future__ import annotations

from functools import partial
from typing import Literal

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard.ui import (
    account_view,
    letters_view,
    live_view,
    minutes_view,
    overview,
    stream_view,
    system_view,
    trace_view,
)
from dashboard.ui.feeds import standings
from etar.settings import DashboardAddress

st.set_page_config(page_title="etar", layout="wide")
found = standings()
pages: list[StreamlitPage] = []
by_path: dict[str, StreamlitPage] = {}
for each in found:
    report = partial(stream_view.show, each.name, by_path)
    # The default page's own path is empty.
    by_path[each.name] = st.Page(report, title=each.title, url_path=each.name, default=len(found) == 1)
    pages.append(by_path[each.name])
    if each.windows is not None:
        live = partial(live_view.show, each.name, each.windows)
        pages.append(st.Page(live, title=each.windows, url_path=overview.live_path(each.name)))
    minutes = partial(minutes_view.show, each.name, each.title, by_path)
    # Of several streams, the menu would have as many pages of one name: they are linked from their streams' pages.
    visible: Literal["visible", "hidden"] = "visible" if len(found) == 1 else "hidden"
    account = partial(account_view.show, each.name, each.title, by_path)
    letters = partial(letters_view.show, each.name, each.title, by_path)
    letters_path = DashboardAddress.dead_letters_path(each.name)
    pages += [
        st.Page(minutes, title="Minutes", url_path=DashboardAddress.minutes_path(each.name), visibility=visible),
        st.Page(account, title="Account", url_path=DashboardAddress.account_path(each.name), visibility=visible),
        st.Page(letters, title="Dead letters", url_path=letters_path, visibility=visible),
    ]
pages.append(st.Page(partial(trace_view.show, [each.name for each in found]), title="Trace", url_path="trace"))
pages.append(st.Page(system_view.show, title="System", url_path="system"))
if len(found) > 1:
    pages.insert(0, st.Page(partial(overview.show, by_path), title="Overview", default=True))
by_path |= {page.url_path: page for page in pages if page.url_path}
st.navigation(pages, position="top").run()
