"""The pages: ``streamlit run dashboard/ui/app.py``. One for each stream, and with several of them an overview."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboard.ui import overview, stream_view
from dashboard.ui.feeds import standings

st.set_page_config(page_title="etar", layout="wide")
found = standings()
pages = [
    st.Page(
        partial(stream_view.show, each.name),
        title=each.title,
        url_path=each.name,
        default=len(found) == 1,
    )
    for each in found
]
if len(pages) > 1:
    pages.insert(
        0, st.Page(partial(overview.show, {page.url_path: page for page in pages}), title="Overview", default=True)
    )
st.navigation(pages, position="top" if len(pages) > 1 else "hidden").run()
