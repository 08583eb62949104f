"""`quarry serve`: :mod:`quarry_dagster.asking` over HTTP, and to assistants by the Model Context Protocol.

- :mod:`~quarry_dagster.serve.web`: the endpoints, and the door that lets requests in
- :mod:`~quarry_dagster.serve.asked`, :mod:`~quarry_dagster.serve.openapi`: what may be asked, and its description
- :mod:`~quarry_dagster.serve.desk`: where requests wait for their turn
- :mod:`~quarry_dagster.serve.keys`, :mod:`~quarry_dagster.serve.problems`, :mod:`~quarry_dagster.serve.metrics`
- :mod:`~quarry_dagster.serve.listening`: the processes that listen
- :mod:`~quarry_dagster.serve.mcp_tools`: the tools of the Model Context Protocol
"""
