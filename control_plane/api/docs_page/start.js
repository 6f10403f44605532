// Shows the description of the API that serves this page. Nothing leaves for another host, and a
// token stays in this page: it is gone when the page is closed.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: "none",
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
});
