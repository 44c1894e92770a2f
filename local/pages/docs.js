// Starts Swagger UI with a token filled in, so that every call can be tried at once. It stands in for Swagger UI's own
// swagger-initializer.js.
"use strict";

// The owner of the demo workspace, as a service that may record anything.
const TOKEN = "/dev/token?sub=user-demo&scope=activity:write+activity:admin";
const SCHEME = "bearer";

async function newToken() {
  const response = await fetch(TOKEN);
  if (!response.ok) throw new Error(`${TOKEN} answers ${response.status}`);
  return (await response.json()).access_token;
}

window.onload = () => {
  let filledIn;
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    async onComplete() {
      filledIn = await newToken();
      window.ui.preauthorizeApiKey(SCHEME, filledIn);
    },
    // A token is valid for an hour. One that the reader typed instead is left alone.
    async requestInterceptor(request) {
      if (filledIn && request.headers?.Authorization === `Bearer ${filledIn}`) {
        request.headers.Authorization = `Bearer ${await newToken()}`;
      }
      return request;
    },
  });
};
