"""The docs: pages that are made from the code, and all pages as a site.

``python -m handbook.pages`` writes the pages, ``python -m handbook.site FOLDER`` builds the site.
"""
