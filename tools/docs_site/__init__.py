"""What the site of the documentation holds beside ``docs/``: mkdocs.yml names :mod:`tools.docs_site.hooks`."""
